"""The model card of a registered version: intended use, scores, weaknesses, data, recipe and lineage.

After Mitchell et al. 2019, "Model cards for model reporting". The prose is in ``model_card.md.j2``, a Jinja2 template; every
figure comes from parameters, data card and scorecard.
"""

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.params import Params, parameters
from ..core import paths
from ..core.files import read_json, replacing
from ..evaluation.bootstrap import Estimate
from ..evaluation.catalogue import about, clearly_better, short
from ..evaluation.scorecard import Scorecard, read_confusion
from ..networks.description import options_of
from .page import as_html
from .scorecard_text import escaped, score_lines, share_of_gap

TEMPLATE = "model_card.md.j2"
FAMILIES = {
    "mlp": "fully connected",
    "dcgan": "convolutional (DCGAN)",
    "compact": "small convolutional",
    "resnet": "residual",
    "progressive": "progressively grown",
}
PICTURES = {
    "samples.png": "Generated images, not selected.",
    "best_and_worst.png": "The images of each class with the highest and the lowest confidence of the judge.",
    "nearest_training.png": "The generated images closest to a training image, and that image.",
    "confusion.png": "Requested class (rows) and predicted class, in percent.",
}
"""Files of the evaluation with their captions."""
LABELLED_PICTURES = ("confusion.png",)
"""Those that need a conditional generator."""
LINEAGE = {
    "git.commit": "git commit",
    "git.dirty": "code differs from the commit",
    "git.diff.sha256": "the difference",
    "generator.hash": "generator",
    "data.hash": "data",
    "classifier.hash": "judge",
    "dvc.lock.sha256": "dvc.lock",
    "requirements.sha256": "requirements",
    "validation.score": "validation score",
}
"""Tags of the origin of a version, with their titles."""
ENVIRONMENT = {"version.torch": "PyTorch ", "version.python": "Python ", "device": "", "cpu": ""}
WORST = 3
"""classes that are named"""
NEAR = 0.95
"""of the gap from floor to ceiling: a number beyond it is no weakness"""


@dataclass(frozen=True)
class CardFacts:
    """The facts of a model card."""

    name: str
    version: str
    run_id: str
    params: Params
    dataset: Mapping[str, Any]
    """data/prepared/card.json"""
    scorecard: Scorecard
    confusion: pd.DataFrame
    """models/evaluation/confusion.csv: ``asked`` and ``seen``, class names as text, a row for each image"""
    stopped: str
    """why the run ended"""
    tags: Mapping[str, str]
    """of the run and of the version; missing ones are left out of the card"""
    verdict: str
    """Markdown: the decision of the gate, and why"""
    pictures: Collection[str] = ()
    """names of the files of ``PICTURES`` beside the card"""


def read_outputs() -> dict[str, Any]:
    """The files of the pipeline that a card describes. Raises UserError if one is missing or corrupt."""
    scorecard = Scorecard.read(paths.EVALUATION / "scorecard.json")
    keys = ("title", "images", "images_per_class", "image_shape")
    return {
        "dataset": read_json(paths.PREPARED / "card.json", "prepare", *keys),
        "scorecard": scorecard,
        "confusion": read_confusion(paths.EVALUATION / "confusion.csv", scorecard.samples),
        "stopped": read_json(paths.GAN / "history.json", "train", "stopped")["stopped"] or "reached train.kimg",
    }


def read_facts(
    name: str,
    version: str,
    run_id: str,
    params: Params,
    tags: Mapping[str, str],
    verdict: str,
    pictures: Collection[str],
) -> CardFacts:
    """The facts of the last run and evaluation. Raises UserError if a file is missing or corrupt."""
    return CardFacts(
        name=name,
        version=version,
        run_id=run_id,
        params=params,
        **read_outputs(),
        tags=tags,
        verdict=verdict,
        pictures=pictures,
    )


def find_pictures(folder: Path, *, conditional: bool) -> dict[str, Path]:
    """The pictures for a card that exist in ``folder``, by name."""
    names = [name for name in PICTURES if conditional or name not in LABELLED_PICTURES]
    return {name: folder / name for name in names if (folder / name).is_file()}


def write_card(facts: CardFacts, pictures: Mapping[str, Path], folder: Path) -> None:
    """Write ``model_card.md`` with its pictures beside it, and ``model_card.html``, which is self-contained."""
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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown: each text from outside passes the filter md
    )
    templates.filters |= {"md": escaped, "percent": _percent, "short": lambda number: short(number)[0]}
    card, model = facts.scorecard, facts.params.model
    channels, height, width = facts.dataset["image_shape"]
    text = templates.get_template(TEMPLATE).render(
        **vars(facts) | {"pictures": {name: PICTURES[name] for name in PICTURES if name in facts.pictures}},
        card=card,
        model=f"{facts.name}/{facts.version}",
        family=FAMILIES.get(model.family, model.family),
        shape=f"{height} x {width} pixels in {'grey' if channels == 1 else 'colour'}",
        licence=escaped(facts.dataset.get("licence") or "unknown"),
        label=len(card.class_names) - 1 if card.conditional else 0,
        gan_train={source: some.get("gan_train_accuracy") for source, some in card.sources().items()}
        if "gan_train_accuracy" in card.generated
        else None,
        behind=_behind(card),
        astray=_astray(card, facts.confusion),
        unlike=_unlike(card),
        balance=None if card.conditional else _balance(card),
        settings=_settings(facts.params),
        environment=[title + facts.tags[tag] for tag, title in ENVIRONMENT.items() if tag in facts.tags],
        lineage={"MLflow run": facts.run_id}
        | {title: facts.tags[tag] for tag, title in LINEAGE.items() if tag in facts.tags},
        scorecard_lines="\n".join(score_lines(card)),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _behind(card: Scorecard) -> list[str]:
    """For each group the number with the smallest share of the gap from floor to ceiling, if it is significant."""
    generated, real, floor = card.generated, card.real, card.floor
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
        three = generated[worst].value, real[worst].value, floor[worst].value
        ours, theirs, trivial = short(*three)
        gap = share_of_gap(worst, *three)
        lines.append(f"{about(worst).title}: {ours}; real images {theirs}, trivial ones {trivial} ({gap} of the gap)")
    return lines


def _astray(card: Scorecard, confusion: pd.DataFrame) -> list[dict[str, Any]]:
    """The classes with the lowest label agreement, and the class that is predicted most often instead."""
    ours, theirs = (card.classes(source, "gan_test_recall") for source in ("generated", "real"))
    asked = {name: group["seen"].value_counts(normalize=True) for name, group in confusion.groupby("asked")}
    found = []
    for place in sorted(range(len(ours)), key=lambda place: ours[place].value):
        name = card.class_names[place]
        if name not in asked or ours[place].value == 1:
            continue
        others = asked[name].drop(name, errors="ignore")
        other = {"other": str(others.index[0]), "other_share": 100 * float(others.iloc[0])}
        found.append({"name": name, "generated": ours[place], "real": theirs[place], **other})
    return found[:WORST]


def _unlike(card: Scorecard) -> list[dict[str, str]]:
    """The classes whose Frechet distance exceeds that of real images the most."""
    name = "frechet_classifier_distance"
    ours, theirs = ([one.value for one in card.classes(source, name)] for source in ("generated", "real"))
    excess = [one - other for one, other in zip(ours, theirs, strict=True)]
    above = [place for place in range(len(excess)) if excess[place] > 0]  # not NaN, of a class with too few images
    worst = sorted(above, key=excess.__getitem__, reverse=True)[:WORST]
    numbers = {place: short(ours[place], theirs[place]) for place in worst}
    return [{"name": card.class_names[place], "generated": some[0], "real": some[1]} for place, some in numbers.items()]


def _balance(card: Scorecard) -> dict[str, str]:
    """The most over- and under-represented classes of an unconditional generator."""
    ours, theirs = ([one.value for one in card.classes(source, "class_share")] for source in ("generated", "real"))
    least, *_, most = sorted(range(len(ours)), key=lambda place: ours[place] - theirs[place])
    return {
        title: f"{escaped(card.class_names[place])}: {100 * ours[place]:.1f} % (real images: {100 * theirs[place]:.1f} %)"
        for title, place in (("most", most), ("least", least))
    }


def _percent(one: Estimate) -> str:
    """A share with its interval, for example ``61.0 % [58.2, 63.9]``."""
    return f"{100 * one.value:.1f} % [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _settings(params: Params) -> dict[str, list[dict[str, str]]]:
    """The parameters that apply, by group: name, value and description."""
    values, taken = params.flat(), {"family", *options_of(params.model.family)}
    found: dict[str, list[dict[str, str]]] = {"Networks": []}
    for one in parameters():
        section, _, name = one.name.partition(".")
        title = "Networks" if section == "model" and name in taken else one.group
        if title and one.applies(values):
            value = values[one.name]
            shown = value if isinstance(value, str) else json.dumps(value)
            found.setdefault(title, []).append({"name": name, "value": shown, "text": one.text})
    return found
