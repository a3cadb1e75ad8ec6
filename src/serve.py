"""Serve a registered generator over HTTP: ``python -m src.serve gan-fashion-mnist@champion``.

``curl -H 'Content-Type: application/json' -d '{"inputs": [["ankle boot", 0]]}' http://127.0.0.1:5001/invocations``
"""

from collections.abc import Sequence
from functools import partial

from .core import interrupts
from .core.arguments import Parser
from .core.errors import UserError, run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = Parser(prog="python -m src.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="NAME@ALIAS or NAME/VERSION; NAME alone means its champion")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=5001, help="default 5001")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with the model loaded (default 1)")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        raise UserError(f"--workers is {options.workers}; it must be 1 or more")
    if not 1 <= options.port <= 65535:
        raise UserError(f"--port is {options.port}; it must be 1 to 65535")
    from .registry import versions
    from .serving import server
    from .tracking import store

    client = store.connect()
    version = versions.find_version(client, options.model)
    server.serve(
        versions.called(version), partial(versions.fetch, client, version), options.host, options.port, options.workers
    )
    interrupts.take()  # the signal that stopped the server


if __name__ == "__main__":
    run_command(main)
