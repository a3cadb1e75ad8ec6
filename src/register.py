"""Stage register: put the generator into the MLflow model registry; it becomes champion if the gate finds it better.

It runs with each ``dvc repro``, also where DVC has restored or pulled the outputs, and ends in seconds when all is registered.
"""

from collections.abc import Sequence

from .core import paths
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Register the generator as candidate, let the gate decide, and print what was decided."""
    description = (__doc__ or "").partition("\n")[0]
    Parser(prog="python -m src.register", description=description).parse_args(arguments)

    from .config.params import load_params
    from .core.device import resolve
    from .data import prepared
    from .registry.registration import register_outputs

    params = load_params()
    resolve()  # the gate draws on the CPU
    print(register_outputs(params, prepared.load(paths.PREPARED, params.data)))


if __name__ == "__main__":
    run_command(main)
