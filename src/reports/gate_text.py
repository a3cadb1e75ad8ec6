"""The promotion gate's ruling as text and as tags."""

from collections.abc import Iterable

from ..evaluation.bootstrap import Estimate
from ..evaluation.gate import Ruling


def sentence(name: str, champion: str | None, ruling: Ruling) -> str:
    """The verdict in one line; ``name`` and ``champion`` are NAME/VERSION."""
    if ruling.decision == "promoted":
        done = f"{name} becomes champion" + (f" in place of {champion}" if champion else "")
    elif ruling.decision == "kept":
        done = f"{name} does not become champion, {champion} stays"
    else:
        done = f"{name} is refused as champion" + (f", {champion} stays" if champion else "")
    return f"{done}: {'; '.join(ruling.reasons)}"


def tags(ruling: Ruling, champion: str | None) -> dict[str, str]:
    """The verdict, its numbers and reasons as tags of the version; empty if not applicable."""
    worst = ruling.worst_class()
    return {
        "gate.decision": ruling.decision,
        "gate.reasons": "; ".join(ruling.reasons),
        "gate.champion": champion or "",
        "gate.objective": _numbers(ruling.candidate),
        "gate.champion.objective": _numbers(ruling.champion),
        "gate.difference": _numbers(ruling.difference),
        "gate.worst.class": f"{worst.name}: {_numbers(worst.difference)}" if worst else "",
        "gate.copied_share": f"{ruling.copied_share:.4f}",
        "gate.coverage": f"{ruling.coverage:.4f}",
    }


def _numbers(one: Estimate | None) -> str:
    return f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]" if one else ""


def markdown(name: str, champion: str | None, ruling: Ruling, notes: Iterable[str] = ()) -> str:
    """The report: verdict, objective, classes. ``notes`` are sentences on how the comparison was made."""
    lines = [
        f"# Gate: {name}, {ruling.decision}",
        "",
        *[f"- {reason}" for reason in ruling.reasons],
        "",
        "The objective is the Frechet joint distance plus a memorisation penalty, on the validation split; lower is better. "
        "Candidate and champion use the same latents, labels, real images and judge; in brackets: 95 % intervals of paired "
        "bootstrap resamples.",
        "",
        f"| | {name} | {champion or 'no champion'} | difference |",
        "|---|---:|---:|---:|",
        f"| objective | {_cell(ruling.candidate)} | {_cell(ruling.champion)} | {_cell(ruling.difference, '+')} |",
        f"| copied share (1 % for real images) | {ruling.copied_share:.2%} | | |",
        f"| coverage | {ruling.coverage:.3f} | | |",
    ]
    if ruling.classes:
        lines += ["", "| label agreement of | candidate | champion | difference |", "|---|---:|---:|---:|"]
        lines += [
            f"| {one.name} | {one.candidate:.3f} | {one.champion:.3f} | {_cell(one.difference, '+')} |"
            for one in ruling.classes
        ]
    for note in notes:
        lines += ["", note]
    return "\n".join([*lines, ""])


def _cell(one: Estimate | None, sign: str = "") -> str:
    return f"{one.value:{sign}.3f} [{one.low:{sign}.3f}, {one.high:{sign}.3f}]" if one else ""
