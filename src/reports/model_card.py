"""The model card of a registered version: what it is for, what it was made from, how good it is and where it is weak.

After Mitchell et al. 2019, "Model cards for model reporting". Every figure comes from parameters, data card and scorecard.
"""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.fields import Parameter
from ..config.params import Params, parameters
from ..core import paths
from ..core.errors import require_file
from ..core.files import replacing
from ..evaluation.bootstrap import Estimate
from ..evaluation.catalogue import about, clearly_better, short
from ..evaluation.scorecard import Scorecard
from ..networks.description import options_of
from .page import as_html
from .scorecard_text import escaped, score_lines, share_of_gap

FAMILIES = {
    "mlp": "fully connected",
    "dcgan": "convolutional (DCGAN)",
    "resnet": "residual",
    "progressive": "progressively grown",
}
PICTURES = {
    "samples.png": "Generated images, not selected.",
    "best_and_worst.png": "Of the images scored: the surest and the least sure of each class, by the judge's confidence.",
    "nearest_training.png": "The generated images nearest to a training image, and that image.",
    "confusion.png": "The class asked for (rows) and the class that the classifier sees, in percent.",
}
"""Files of the evaluation with their captions."""
LABELLED_PICTURES = ("confusion.png",)
"""Those that mean nothing where no label is asked for."""
LINEAGE = {
    "git.commit": "git commit",
    "git.dirty": "code differs from the commit",
    "git.diff.sha256": "the difference",
    "generator.hash": "generator",
    "data.hash": "data",
    "classifier.hash": "classifier that judged",
    "dvc.lock.sha256": "dvc.lock",
    "requirements.sha256": "requirements",
    "validation.score": "validation score",
}
"""Tags that say where a version comes from, with their titles."""
WORST = 3
"""classes that are named"""
NEAR = 0.95
"""of the way from floor to ceiling: a number beyond it is no weakness"""


@dataclass(frozen=True)
class CardFacts:
    """The facts of a model card."""

    name: str
    version: str
    run_id: str
    params: Params
    dataset: Mapping[str, Any]
    """data/prepared/card.json"""
    scorecard: Mapping[str, Any]
    """models/evaluation/scorecard.json"""
    confusion: pd.DataFrame
    """models/evaluation/confusion.csv: ``asked`` and ``seen``, class names as text, a row an image"""
    stopped: str
    """why the run ended"""
    tags: Mapping[str, str]
    """of the training run and of the version; those that are missing are left out of the card"""
    verdict: str
    """Markdown: what the registry decided, and why"""
    pictures: Collection[str] = ()
    """names of the files of ``PICTURES`` that lie beside the card"""


def read_facts(
    name: str,
    version: str,
    run_id: str,
    params: Params,
    tags: Mapping[str, str],
    verdict: str,
    pictures: Collection[str],
) -> CardFacts:
    """The facts of the last training and evaluation. Raises UserError for a file that is missing, with how to make it."""

    def read(path: Path, made_by: str) -> Any:
        return json.loads(require_file(path, made_by).read_text(encoding="utf-8"))

    confusion = require_file(paths.EVALUATION / "confusion.csv", "evaluate")
    return CardFacts(
        name=name,
        version=version,
        run_id=run_id,
        params=params,
        dataset=read(paths.PREPARED / "card.json", "prepare"),
        scorecard=read(paths.EVALUATION / "scorecard.json", "evaluate"),
        confusion=pd.read_csv(confusion, dtype=str, keep_default_na=False),
        stopped=read(paths.GAN / "history.json", "train")["stopped"] or "reached train.kimg",
        tags=tags,
        verdict=verdict,
        pictures=pictures,
    )


def find_pictures(folder: Path, *, conditional: bool) -> dict[str, Path]:
    """The pictures for a card by name, those that there are in ``folder``."""
    names = [name for name in PICTURES if conditional or name not in LABELLED_PICTURES]
    return {name: folder / name for name in names if (folder / name).is_file()}


def write_card(facts: CardFacts, pictures: Mapping[str, Path], folder: Path) -> None:
    """Write ``model_card.md`` with its pictures beside it, and ``model_card.html`` that needs no other file."""
    text = model_card(facts)
    files = {"model_card.md": text, "model_card.html": as_html(text, pictures, f"{facts.name} {facts.version}")}
    for name, content in files.items():
        with replacing(folder / name) as part:
            part.write_text(content, encoding="utf-8")
    for name, picture in pictures.items():
        with replacing(folder / name) as part:
            shutil.copyfile(picture, part)


def model_card(facts: CardFacts) -> str:
    """The card as Markdown. Pictures are relative links to files beside it."""
    sections: dict[str, list[str]] = {
        "Verdict": [facts.verdict],
        "Intended use": _use(facts),
        "How to use it": _usage(facts),
        "Known weaknesses": _weaknesses(facts),
        "Pictures": _pictures(facts),
        "Scorecard": score_lines(Scorecard.model_validate(facts.scorecard)),
        "Data": _data(facts),
        "Recipe": _recipe(facts),
        "Ethics and limits": _limits(facts),
        "Lineage": _lineage(facts),
        "Licence": [
            f"Code: MIT, see `LICENSE` in the project. Data: {_licence(facts)}. Whether the terms of the data hold for "
            "generated images too has not been examined."
        ],
    }
    lines = [f"# {escaped(facts.name)}, version {escaped(facts.version)}", "", _summary(facts)]
    for title, section in sections.items():
        if section:
            lines += ["", f"## {title}", "", *section]
    return "\n".join([*lines, ""])


def _summary(facts: CardFacts) -> str:
    model, images = facts.params.model, facts.dataset["images"]
    kind = f"A conditional ({model.conditioning})" if facts.scorecard["conditional"] else "An unconditional"
    return (
        f"{kind}, {FAMILIES.get(model.family, model.family)} GAN that draws images of {_shape(facts)} like those of "
        f"{escaped(facts.dataset['title'])}, trained on {images['train']:,} of them."
    )


def _shape(facts: CardFacts) -> str:
    channels, height, width = facts.dataset["image_shape"]
    return f"{height} x {width} pixels in {'grey' if channels == 1 else 'colour'}"


def _licence(facts: CardFacts) -> str:
    return escaped(facts.dataset.get("licence") or "unknown")


def _use(facts: CardFacts) -> list[str]:
    card = facts.scorecard
    lines = [
        "For research and teaching: to compare ways of training GANs, and to look at what such a network learns from "
        f"{escaped(facts.dataset['title'])}.",
        "",
        "Not for passing generated images off as real ones, not for decisions about people, and not in place of real data "
        "without a test on real data.",
    ]
    if "gan_train_accuracy" in card["generated"]:
        ours, theirs = (_percent(card[source]["gan_train_accuracy"]) for source in ("generated", "real"))
        lines[-1] += (
            f" A classifier that learned from its images alone has {ours} of the real test images right; "
            f"one that learned from as many real images {theirs}."
        )
    return lines


def _weaknesses(facts: CardFacts) -> list[str]:
    """What the scorecard says against the generator, each with its figures."""
    card = facts.scorecard
    lines = [f"**Warning**: {escaped(warning)}\n" for warning in card["warnings"]]
    for title, found in {
        "Farthest from real images, of the numbers of each kind:": _behind(card),
        "The classes that follow their label least:": _astray(card, facts.confusion),
        "The classes farthest from real images of the same class, by the Frechet distance in the classifier's features:": [
            *_unlike(card)
        ],
        "And:": [*_others(facts)],
    }.items():
        if found:
            lines += [title, "", *(f"- {one}" for one in found), ""]
    return lines[:-1]


def _behind(card: Mapping[str, Any]) -> list[str]:
    """Of each group the number that is the smallest share of the way from floor to ceiling, where that is no chance."""
    generated, real, floor = (
        {name: Estimate(**one) for name, one in card[source].items()} for source in ("generated", "real", "floor")
    )
    behind = [
        name
        for name in generated
        if clearly_better(name, real[name], generated[name]) and clearly_better(name, real[name], floor[name])
    ]

    def share(name: str) -> float:
        return (generated[name].value - floor[name].value) / (real[name].value - floor[name].value)

    far = [name for name in behind if share(name) < NEAR]
    lines = []
    for _, names in groupby(far, key=lambda name: about(name).group):
        worst = min(names, key=share)
        ours, theirs, trivial = generated[worst].value, real[worst].value, floor[worst].value
        gap = share_of_gap(worst, ours, theirs, trivial)
        lines.append(
            "{}: {} where real images have {} and trivial ones {} ({} of the gap)".format(
                about(worst).title, *short(ours, theirs, trivial), gap
            )
        )
    return lines


def _astray(card: Mapping[str, Any], confusion: pd.DataFrame) -> list[str]:
    """The classes with the lowest agreement of label and what is seen, and what is seen most often instead."""
    ours, theirs = (card["by_class"][source].get("gan_test_recall", []) for source in ("generated", "real"))
    asked = {name: group["seen"].value_counts(normalize=True) for name, group in confusion.groupby("asked")}
    lines = []
    for place in sorted(range(len(ours)), key=lambda place: float(ours[place]["value"])):
        name = card["class_names"][place]
        if name not in asked or ours[place]["value"] == 1:
            continue
        others = asked[name].drop(name, errors="ignore")
        lines.append(
            f"**{escaped(name)}**: {_percent(ours[place])} of its images are seen as that (real images: "
            f"{_percent(theirs[place])}), and {100 * others.iloc[0]:.1f} % as {escaped(str(others.index[0]))}"
        )
    return lines[:WORST]


def _unlike(card: Mapping[str, Any]) -> Iterator[str]:
    """The classes whose Frechet distance is the farthest above that of real images."""
    ours, theirs = (
        [one["value"] for one in card["by_class"][source].get("frechet_classifier_distance", [])]
        for source in ("generated", "real")
    )
    excess = [one - other for one, other in zip(ours, theirs, strict=True)]
    above = [
        place for place in range(len(excess)) if excess[place] > 0
    ]  # NaN, where a class has too few images, is not
    for place in sorted(above, key=excess.__getitem__, reverse=True)[:WORST]:
        numbers = short(ours[place], theirs[place])
        yield "**{}**: {} (real images: {})".format(escaped(card["class_names"][place]), *numbers)


def _others(facts: CardFacts) -> Iterator[str]:
    card = facts.scorecard
    if not card["conditional"]:
        ours, theirs = (
            [one["value"] for one in card["by_class"][source]["class_share"]] for source in ("generated", "real")
        )
        least, *_, most = sorted(range(len(ours)), key=lambda place: ours[place] - theirs[place])
        often, seldom = (
            f"{escaped(card['class_names'][place])}: {100 * ours[place]:.1f} % (real images: {100 * theirs[place]:.1f} %)"
            for place in (most, least)
        )
        yield f"no class can be asked for; the one that comes too often is {often}, too seldom {seldom}"
    copied, real = (_percent(card[source]["copied_share"]) for source in ("generated", "real"))
    memorised, p_value = card["generated"]["memorisation"], card["p_values"]["memorisation"]
    yield f"copies: {copied} of the images are as near to a training image as the nearest 1 % of test images (real: {real})"
    yield (
        f"memorisation: with probability {short(memorised['value'])[0]} an image is nearer to the training images than a "
        f"real one is (0.5: neither; p-value {p_value:.3g})"
    )
    yield f"the images have {_shape(facts)}, and there is no other size"
    wrong = 100 * (1 - card["classifier_accuracy"])
    yield f"the classifier that judges has {wrong:.1f} % of the real test images wrong itself"
    yield (
        f"one training with one seed ({facts.params.train.seed}): the intervals tell the noise of {card['samples']:,} images, "
        "not what another seed would give"
    )


def _percent(one: Mapping[str, float]) -> str:
    """A share with its interval, for example ``61.0 % [58.2, 63.9]``."""
    value, low, high = (100 * one[end] for end in ("value", "low", "high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _pictures(facts: CardFacts) -> list[str]:
    shown = [name for name in PICTURES if name in facts.pictures]
    return "\n\n".join(f"{PICTURES[name]}\n\n![{PICTURES[name]}]({name})" for name in shown).splitlines()


def _data(facts: CardFacts) -> list[str]:
    card = facts.dataset
    splits = list(card["images"])
    sizes = ", ".join(f"{count:,} {name}" for name, count in card["images"].items())
    official = "is the official one" if card["official_test_split"] else "was drawn with the same seed"
    rows = []
    for name in card["class_names"]:
        counts = (f"{card['images_per_class'][split][name]:,}" for split in splits)
        rows.append(f"| {escaped(name)} | {' | '.join(counts)} |")
    return [
        f"{escaped(card['title'])}: {sizes} images of {_shape(facts)}, {len(card['class_names'])} classes. The validation "
        f"split was drawn class by class with seed {card['split_seed']}; the test split {official}, and was read for the "
        "scorecard alone.",
        "",
        f"| class | {' | '.join(splits)} |",
        f"|---|{'---:|' * len(splits)}",
        *rows,
        "",
        f"Content hash: `{card['content_hash']}`. Licence: {_licence(facts)}. Source: "
        f"{escaped(card.get('source') or 'unknown')}",
    ]


def _recipe(facts: CardFacts) -> list[str]:
    values, taken = facts.params.flat(), {"family", *options_of(facts.params.model.family)}
    found = [one for one in parameters() if one.applies(values)]
    networks = [one for one in found if one.name.startswith("model.") and one.name.partition(".")[2] in taken]
    lines = _settings("Networks", networks, values)
    for title in dict.fromkeys(one.group for one in found if one.group):
        lines += ["", *_settings(title, [one for one in found if one.group == title], values)]
    ran_on = {"version.torch": "PyTorch ", "version.python": "Python ", "device": "", "cpu": ""}
    ran = ", ".join(f"{title}{escaped(facts.tags[tag])}" for tag, title in ran_on.items() if tag in facts.tags)
    return [
        f"The training ended because: {escaped(facts.stopped)}. The weights are those of its best validation score."
        + (f" It ran with {ran}." if ran else ""),
        "",
        *lines,
    ]


def _settings(title: str, shown: Collection[Parameter], values: Mapping[str, Any]) -> list[str]:
    """A table of parameters with their values and what they are."""
    rows = [f"| `{one.name.partition('.')[2]}` | `{_shown(values[one.name])}` | {escaped(one.text)} |" for one in shown]
    return [f"| {title} | value | what it is |", "|---|---|---|", *rows]


def _shown(value: Any) -> str:
    """A parameter as params.yaml has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _limits(facts: CardFacts) -> list[str]:
    return [
        "The judge is a classifier of this project that learned from the same data, so it shares the blind spots of that data, "
        f"and its scores compare only with scores of the same classifier (`{facts.scorecard['classifier_hash'][:12]}`). "
        "A generator repeats whatever its training images show too often, too seldom or in a wrong light, and nothing here "
        "measures that beyond the classes.",
    ]


def _usage(facts: CardFacts) -> list[str]:
    model = f"{facts.name}/{facts.version}"
    shape = ", ".join(map(str, facts.dataset["image_shape"]))
    if facts.scorecard["conditional"]:
        label, what = len(facts.scorecard["class_names"]) - 1, "label, seed"
        options = f" --label {label}"
        classes = ", ".join(f"{place} {escaped(name)}" for place, name in enumerate(facts.scorecard["class_names"]))
        intro = [f"The labels: {classes}.", ""]
    else:
        label, what, options, intro = 0, "a number that does nothing, seed", "", []
    return [
        *intro,
        "With mlflow, torch and numpy alone; `MLFLOW_TRACKING_URI` says where the registry is "
        "(`sqlite:///mlruns/mlflow.db` in the project's folder):",
        "",
        "```python",
        "import mlflow, numpy as np",
        f'generator = mlflow.pyfunc.load_model("models:/{model}")',
        f"images = generator.predict(np.array([[{label}, 0], [{label}, 1]]))  # {what} -> (2, {shape}), from -1 to 1",
        "```",
        "",
        "The same as a PyTorch module:",
        "",
        "```python",
        "import mlflow, torch",
        f'generator = mlflow.pytorch.load_model("models:/{model}")',
        f"images = generator(torch.tensor([[{label}, 0], [{label}, 1]]), torch.ones(2))  # and the truncation of each",
        "```",
        "",
        "In the project's folder: images as a picture; and the version made again from its commit, and compared bit by bit:",
        "",
        "```",
        f"python -m src.sample --model {model}{options} --count 16 --seed 0 --out images.png",
        f"python -m src.registry rebuild {model}",
        "```",
    ]


def _lineage(facts: CardFacts) -> list[str]:
    rows = {"MLflow run": facts.run_id}
    rows |= {title: facts.tags[tag] for tag, title in LINEAGE.items() if tag in facts.tags}
    return ["| from | |", "|---|---|", *(f"| {title} | `{value}` |" for title, value in rows.items())]
