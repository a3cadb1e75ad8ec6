"""Promotion: a registered candidate is compared with the champion and replaces it if the gate decides so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.params import Params, Register
from ..core.errors import UserError
from ..evaluation.gate import Gate, Ruling
from ..evaluation.real_images import RealImages
from ..reports import gate_text
from ..tracking.runs import Run
from . import aliases, facts, versions
from .versions import CHAMPION, called

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DIRTY = {"git.dirty": "trained", "registered.git.dirty": "registered"}
"""tags that must be ``false``, with the action that they describe"""
UNCLEAN = {"true": "by code that differs from the commit", "unknown": "outside of a git repository"}


@dataclass(frozen=True)
class Decision:
    """The decision on a candidate."""

    verdict: str
    """a sentence"""
    ruling: Ruling | None = None
    """None for the current champion, which is not compared"""
    champion: str | None = None
    """NAME/VERSION of the champion that it was compared with"""
    notes: tuple[str, ...] = ()
    allowed_dirty: bool = False
    """its code was not committed, and register.allow_dirty is set"""


def make_gate(params: Params, images: RealImages) -> Gate:
    """The gate with the project's parameters."""
    return Gate(images, params.evaluate.resamples, params.evaluate.nearest_k)


def decide(client: "MlflowClient", candidate: "ModelVersion", gate: Gate, settings: Register) -> Decision:
    """Compare a candidate with the champion, and promote it if the gate decides so.

    Call it within ``aliases.deciding()``. Raises UserError if a process on another machine has changed the champion in
    the meantime.
    """
    number = versions.aliases_of(client, candidate.name).get(CHAMPION)
    if number == str(candidate.version):
        return Decision(f"{called(candidate)} is the champion already")
    champion = client.get_model_version(candidate.name, number) if number else None
    decision = compare(client, candidate, champion, gate, settings)
    if decision.ruling is not None and decision.ruling.decision == "promoted":
        aliases.promote(client, candidate, instead_of=number)
        aliases.since(client, candidate, "by the gate")
    return decision


def compare(
    client: "MlflowClient",
    candidate: "ModelVersion",
    champion: "ModelVersion | None",
    gate: Gate,
    settings: Register,
) -> Decision:
    """The gate's ruling on a candidate. Both versions are scored with the current judge and data."""
    measured = gate.measure(versions.load_version(client, candidate).network)
    known = facts.facts(client, candidate)
    against = list(refusals(known, gate.data_hash, allow_dirty=settings.allow_dirty))
    theirs, notes = None, []
    if champion is not None:
        try:
            theirs = gate.measure(versions.load_version(client, champion).network)
        except UserError as error:
            against.append(f"the champion cannot be measured ({error}), so they cannot be compared")
        notes = list(_notes(gate, candidate, champion))
    allowed_dirty = settings.allow_dirty and any(known.get(tag) != "false" for tag in DIRTY)
    if allowed_dirty:
        notes.append("Its code was not committed; register.allow_dirty allows that.")
    ruling = gate.rule(measured, theirs, settings.max_class_drop, against)
    other = called(champion) if champion else None
    return Decision(gate_text.sentence(called(candidate), other, ruling), ruling, other, tuple(notes), allowed_dirty)


def record(run: Run, version: "ModelVersion", decision: Decision) -> None:
    """Record the verdict, its numbers and reasons as tags, and the report in the run."""
    if decision.ruling is None:  # keep the verdict that promoted it
        return
    tags = {"verdict": decision.verdict, **gate_text.tags(decision.ruling, decision.champion)}
    if decision.allowed_dirty:
        tags["gate.allowed_dirty"] = "true"
    run.text(report(version, decision), f"gate/{version.name}-{version.version}.md")
    facts.record(run.client, version, tags)


def report(version: "ModelVersion", decision: Decision) -> str:
    """The decision in Markdown."""
    if decision.ruling is None:
        return f"{decision.verdict}.\n"
    return gate_text.markdown(called(version), decision.champion, decision.ruling, decision.notes)


def refusals(tags: Mapping[str, str], data_hash: str, *, allow_dirty: bool) -> Iterator[str]:
    """Reasons to refuse a version for its origin, regardless of scores. ``tags`` are the version's facts."""
    made_from = tags.get("data.hash")
    if made_from != data_hash:
        known = f"data {made_from[:12]}" if made_from else "unknown data"
        yield f"it was trained on {known}, and the prepared images are {data_hash[:12]}"
    if facts.ROLLED_BACK in tags:
        yield (
            f"it was champion, and was rolled back {tags[facts.ROLLED_BACK]}; `python -m src.registry promote` promotes "
            "it again"
        )
    if not allow_dirty:
        for state, what in UNCLEAN.items():
            done = [done for tag, done in DIRTY.items() if tags.get(tag, "unknown") == state]
            if done:
                yield (
                    f"it was {' and '.join(done)} {what}; commit it and run `python -m src.register`, or set "
                    "register.allow_dirty"
                )


def _notes(gate: Gate, candidate: "ModelVersion", champion: "ModelVersion") -> Iterator[str]:
    for one in (champion, candidate):
        judged_by = one.tags.get("classifier.hash", "unknown")
        if judged_by != gate.classifier_hash:
            yield (
                f"{called(one)} was scored by classifier {judged_by[:12]} when it was registered; the classifier "
                f"is now {gate.classifier_hash[:12]}, and both were scored again with it."
            )
    trained_on = champion.tags.get("data.hash", "unknown")
    if trained_on != gate.data_hash:
        yield (
            f"The champion was trained on other data ({trained_on[:12]}): its training set may include the current "
            "validation images, which can only raise its scores."
        )
