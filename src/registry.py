"""Look into the model registry and change it.

``python -m src.registry list | best | show MODEL | compare MODEL [MODEL] | promote MODEL | rollback NAME | delete MODEL |
rebuild MODEL``; MODEL is NAME@ALIAS, NAME/VERSION, or NAME for its champion.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import paths
from src.errors import UserError, run_command
from src.tables import aligned

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

COLUMNS = (
    "validation.score",
    "test.gan_test_accuracy",
    "test.frechet_classifier_distance",
    "test.recall",
    "test.coverage",
)


def _rows(client: "MlflowClient", name: str) -> list[dict[str, Any]]:
    """A row a version, the newest first."""
    from src.tracking import registry

    own = registry.own_aliases(client, name)
    return [
        {
            "model": registry.called(version),
            "alias": ", ".join(own.get(str(version.version), [])),
            **{column: float(version.tags.get(column, "nan")) for column in COLUMNS},
            "classifier": version.tags.get("classifier.hash", "")[:8],
            "gate": version.tags.get("gate.decision", ""),
            "registered": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        }
        for version in registry.versions_of(client, name)
    ]


def table(client: "MlflowClient") -> list[dict[str, Any]]:
    """A row a version of every model. Raises UserError for an empty registry."""
    from src.tracking import registry, store

    rows = [row for model in registry.models(client) for row in _rows(client, model.name)]
    if not rows:
        raise UserError(f"the registry at {store.where()} is empty; `dvc repro` trains and registers a model")
    return rows


def best_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row with the lowest validation score of each classifier: scores of different ones do not compare.

    Raises UserError where no version has one.
    """
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        score, rival = row["validation.score"], best.get(row["classifier"])
        if not isnan(score) and (rival is None or score < rival["validation.score"]):
            best[row["classifier"]] = row
    if not best:
        raise UserError("no version has a validation score; `dvc repro` trains and registers one")
    return [best[classifier] for classifier in sorted(best)]


def agreed(plan: str, *, yes: bool) -> bool:
    """Say what will be done and ask, unless ``yes``. Raises UserError where nobody can be asked."""
    print(plan)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("nothing was changed: there is no terminal to ask on; add --yes")
    try:
        answer = input("Do it? [y/N] ")
    except EOFError:
        answer = ""
        print()
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was changed")
    return False


def compare(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Print what the gate says of one version against another; nothing is changed."""
    from src.datasets.store import load
    from src.params import load_params
    from src.setup import real_images
    from src.tracking import gatekeeper, registry

    params, data = load_params(), load(paths.PREPARED)
    candidate = registry.find_version(client, options.model)
    champion = registry.find_version(client, options.other or candidate.name)
    if registry.called(candidate) == registry.called(champion):
        raise UserError(f"{registry.called(candidate)} is both; name two versions")
    for one in (candidate, champion):
        registry.check_dataset(client, one.name, data.name)
    gate = gatekeeper.make_gate(params, real_images(params, data))
    print(gatekeeper.report(candidate, gatekeeper.compare(client, candidate, champion, gate, params.register_)))


def promote(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Make a version champion, whatever the gate said; it is told, and what it said is shown first."""
    from src.tracking import aliases, registry

    version = registry.find_version(client, options.model)
    champion = registry.aliases_of(client, version.name).get(registry.CHAMPION)
    if champion == str(version.version):
        raise UserError(f"{registry.called(version)} is the champion already")
    registry.check_version(version)  # a broken version must not become champion
    plan = f"{registry.called(version)} becomes champion"
    plan += f" in place of {version.name}/{champion}, which becomes previous" if champion else ""
    gate_said = version.tags.get("gate.reasons")
    plan += f".\nThe gate said ({version.tags.get('gate.decision')}): {gate_said}." if gate_said else "."
    if agreed(plan, yes=options.yes):
        with aliases.deciding():
            aliases.promote(client, version, instead_of=champion)
        if aliases.ROLLED_BACK in version.tags:
            client.delete_model_version_tag(version.name, version.version, aliases.ROLLED_BACK)
        _tell(client, version, "promoted by hand")


def rollback(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Make the previous champion champion again."""
    from src.tracking import aliases, registry

    name, kind, _ = registry.split_reference(options.model)
    if kind == "version" or "@" in options.model:
        raise UserError(f"rollback takes the NAME of a model alone, not {options.model!r}")
    champion = registry.find_version(client, name)
    version = client.get_model_version(name, aliases.previous(client, name))
    registry.check_version(version)
    plan = f"{registry.called(version)} becomes champion again, and {registry.called(champion)} becomes previous."
    if agreed(plan, yes=options.yes):
        with aliases.deciding():
            aliases.promote(client, version, instead_of=str(champion.version))
        # Or the next call of the stage register would make it champion again.
        client.set_model_version_tag(name, champion.version, aliases.ROLLED_BACK, f"to {registry.called(version)}")
        _tell(client, version, f"rolled back from {registry.called(champion)}")


def delete(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Take a version out of the registry."""
    from src.tracking import aliases, registry

    version = registry.find_version(client, options.model)
    aliases.may_delete(client, version)
    own = registry.own_aliases(client, version.name).get(str(version.version), [])
    plan = f"{registry.called(version)} is taken out of the registry"
    plan += f", and with it the alias {', '.join(own)}" if own else ""
    plan += f"; its run {registry.run_of(version)} keeps scores, pictures and files."
    if agreed(plan, yes=options.yes):
        with aliases.deciding():
            aliases.delete(client, version)
        registry.describe(client, version.name)
        print(f"{registry.called(version)} is gone")


def _tell(client: "MlflowClient", version: "ModelVersion", what: str) -> None:
    """Note on the version how it became champion, and print who is champion now."""
    from src.tracking import aliases, registry

    aliases.since(client, version, what)
    registry.describe(client, version.name)
    print(f"{registry.called(version)} is champion ({what})")


def show(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Print everything that is known of a version."""
    from src.tracking import passport, registry

    print(passport.text(client, registry.find_version(client, options.model)))


def remake(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Make a version again from its commit; exit status 1 if another generator comes out."""
    from src.tracking import rebuild, registry

    version = registry.find_version(client, options.model)
    outcome = rebuild.rebuild(client, version, Path.cwd(), keep=options.keep)
    print(rebuild.report(outcome))
    if not outcome.equal:
        sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer from the registry, or change it."""
    parser = argparse.ArgumentParser(prog="python -m src.registry", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("model", metavar="MODEL", help="NAME@ALIAS or NAME/VERSION; NAME alone means its champion")
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("--yes", action="store_true", help="do it without asking")

    def add(name: str, help_: str, parents: Sequence[argparse.ArgumentParser] = ()) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_, description=help_, parents=list(parents))

    add("list", "every version of every model, with its scores")
    add("best", "the version with the lowest validation score, for each classifier that judged")
    add("show", "all that is known of a version: scores, origin, how to make and use it", [model])
    other = add("compare", "what the gate says of one version against another; changes nothing", [model])
    other.add_argument("other", metavar="MODEL", nargs="?", help="the other one (default: the champion)")
    add("promote", "make a version champion; the champion becomes previous", [model, asking])
    back = add("rollback", "make the previous champion champion again", [asking])
    back.add_argument("model", metavar="NAME", help="the registered model")
    add("delete", "take a version out of the registry; never the champion", [model, asking])
    again = add(
        "rebuild", "make a version again from its commit, and compare it bit by bit (status 1: it differs)", [model]
    )
    again.add_argument("--keep", action="store_true", help="leave the folder in which it was made")
    options = parser.parse_args(arguments)
    from src.tracking import store

    actions: dict[str, Callable[[MlflowClient, argparse.Namespace], None]] = {
        "show": show,
        "compare": compare,
        "promote": promote,
        "rollback": rollback,
        "delete": delete,
        "rebuild": remake,
    }
    if options.command in actions:
        actions[options.command](store.connect(), options)
        return
    found = table(store.connect(registry_alone=True))
    print(aligned(best_of(found) if options.command == "best" else found))


if __name__ == "__main__":
    run_command(main)
