"""Inspect and change the model registry.

``python -m src.registry list | best | show MODEL | compare MODEL [MODEL] | promote MODEL | rollback NAME | delete MODEL |
rebuild MODEL``; MODEL is NAME@ALIAS, NAME/VERSION, or NAME for its champion.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import paths
from ..core.arguments import Parser
from ..core.errors import UserError, run_command

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    Action = Callable[[MlflowClient, argparse.Namespace], None]


def agreed(plan: str, *, yes: bool) -> bool:
    """Print the plan and ask for confirmation, unless ``yes``. Raises UserError without a terminal."""
    print(plan)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("nothing was changed: there is no terminal for a confirmation; add --yes")
    try:
        answer = input("Proceed? [y/N] ")
    except EOFError:
        answer = ""
        print()
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was changed")
    return False


def compare(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Print the gate's comparison of two versions; nothing is changed."""
    from ..config.params import load_params
    from ..data.prepared import load
    from ..training.setup import real_images
    from . import promotion, versions

    params, data = load_params(), load(paths.PREPARED)
    candidate = versions.find_version(client, options.model)
    champion = versions.find_version(client, options.other or candidate.name)
    if versions.called(candidate) == versions.called(champion):
        raise UserError(f"both are {versions.called(candidate)}; name two versions")
    for one in (candidate, champion):
        versions.check_dataset(client, one.name, data.name)
    gate = promotion.make_gate(params, real_images(params, data))
    print(promotion.report(candidate, promotion.compare(client, candidate, champion, gate, params.register_)))


def promote(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Make a version champion regardless of the gate, whose verdict is shown first."""
    from . import aliases, facts, versions

    version = versions.find_version(client, options.model)
    champion = versions.aliases_of(client, version.name).get(versions.CHAMPION)
    if champion == str(version.version):
        raise UserError(f"{versions.called(version)} is the champion already")
    versions.check_version(client, version)  # never promote a corrupt version
    plan = f"{versions.called(version)} becomes champion"
    plan += f" in place of {version.name}/{champion}, which becomes previous" if champion else ""
    known = facts.facts(client, version)
    gate_said = known.get("gate.reasons")
    plan += f".\nThe gate said ({known.get('gate.decision')}): {gate_said}." if gate_said else "."
    if agreed(plan, yes=options.yes):
        with aliases.deciding():
            aliases.promote(client, version, instead_of=champion)
        _tell(client, version, "promoted by hand")


def rollback(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Restore the previous champion."""
    from . import aliases, facts, versions

    name, kind, _ = versions.split_reference(options.model)
    if kind == "version" or "@" in options.model:
        raise UserError(f"rollback takes the NAME of a model alone, not {options.model!r}")
    champion = versions.find_version(client, name)
    version = client.get_model_version(name, aliases.previous(client, name))
    versions.check_version(client, version)
    plan = f"{versions.called(version)} becomes champion again, and {versions.called(champion)} becomes previous."
    if agreed(plan, yes=options.yes):
        with aliases.deciding():
            aliases.promote(client, version, instead_of=str(champion.version))
        # Otherwise the next run of the stage register would promote it again.
        facts.remove(client, champion, [facts.SINCE])
        facts.record(client, champion, {facts.ROLLED_BACK: f"to {versions.called(version)}"})
        _tell(client, version, f"rolled back from {versions.called(champion)}")


def delete(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Delete a version."""
    from . import aliases, describe, facts, versions

    version = versions.find_version(client, options.model)
    aliases.may_delete(client, version)
    own = versions.own_aliases(client, version.name).get(str(version.version), [])
    plan = f"{versions.called(version)} is deleted from the registry"
    plan += f", and with it the alias {', '.join(own)}" if own else ""
    plan += f"; its run {facts.run_of(version)} keeps the scores, pictures and files."
    if agreed(plan, yes=options.yes):
        with aliases.deciding():
            aliases.delete(client, version)
        describe.update_model(client, version.name)
        print(f"{versions.called(version)} is deleted")


def _tell(client: "MlflowClient", version: "ModelVersion", what: str) -> None:
    """Record how a version became champion, and print it."""
    from . import aliases, describe, versions

    aliases.since(client, version, what)
    describe.update_model(client, version.name)
    print(f"{versions.called(version)} is champion ({what})")


def show(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Print everything about a version."""
    from . import describe, versions

    print(describe.text(client, versions.find_version(client, options.model)))


def remake(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Rebuild a version from its commit; exit status 1 if the generator differs."""
    from . import rebuild, versions

    version = versions.find_version(client, options.model)
    outcome = rebuild.rebuild(client, version, Path.cwd(), keep=options.keep)
    print(rebuild.report(outcome))
    if not outcome.equal:
        sys.exit(1)


def show_list(client: "MlflowClient", options: argparse.Namespace) -> None:
    """Print the versions of every model, or the best ones."""
    from ..core.tables import aligned
    from . import listing

    found = listing.table(client)
    print(aligned(listing.best_of(found) if options.command == "best" else found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Inspect or change the registry."""
    parser = Parser(prog="python -m src.registry", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    model = Parser(add_help=False)
    model.add_argument("model", metavar="MODEL", help="NAME@ALIAS or NAME/VERSION; NAME alone means its champion")
    asking = Parser(add_help=False)
    asking.add_argument("--yes", action="store_true", help="skip the confirmation")

    def add(name: str, action: "Action", help_: str, *parents: Parser) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_, parents=parents)
        command.set_defaults(action=action)
        return command

    add("list", show_list, "every version of every model, with its scores")
    add("best", show_list, "the version with the lowest validation score, for each judge")
    add("show", show, "everything about a version: scores, origin, how to rebuild and use it", model)
    other = add("compare", compare, "the gate's ruling on a version against another one; changes nothing", model)
    other.add_argument("other", metavar="MODEL", nargs="?", help="the other version (default: the champion)")
    add("promote", promote, "make a version champion; the champion becomes previous", model, asking)
    back = add("rollback", rollback, "restore the previous champion", asking)
    back.add_argument("model", metavar="NAME", help="the registered model")
    add("delete", delete, "delete a version other than the champion", model, asking)
    again = add(
        "rebuild", remake, "rebuild a version from its commit and compare the bits (status 1: they differ)", model
    )
    again.add_argument("--keep", action="store_true", help="keep the worktree")
    options = parser.parse_args(arguments)
    from ..tracking import store

    options.action(store.connect(registry_alone=options.action is show_list), options)


if __name__ == "__main__":
    run_command(main)
