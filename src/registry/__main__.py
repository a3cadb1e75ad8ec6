"""Look into the model registry and change it.

``python -m src.registry list | best | show MODEL | compare MODEL [MODEL] | promote MODEL | rollback NAME | delete MODEL |
rebuild MODEL``; MODEL is NAME@ALIAS, NAME/VERSION, or NAME for its champion.
"""

import argparse
from collections.abc import Sequence

from ..core.arguments import Parser
from ..core.errors import run_command
from ..core.tables import aligned


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer from the registry, or change it."""
    parser = Parser(prog="python -m src.registry", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    model = Parser(add_help=False)
    model.add_argument("model", metavar="MODEL", help="NAME@ALIAS or NAME/VERSION; NAME alone means its champion")
    asking = Parser(add_help=False)
    asking.add_argument("--yes", action="store_true", help="do it without asking")

    def add(name: str, help_: str, parents: Sequence[Parser] = ()) -> argparse.ArgumentParser:
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
    from ..tracking import store
    from . import actions, listing

    if options.command in actions.ACTIONS:
        actions.ACTIONS[options.command](store.connect(), options)
        return
    found = listing.table(store.connect(registry_alone=True))
    print(aligned(listing.best_of(found) if options.command == "best" else found))


if __name__ == "__main__":
    run_command(main)
