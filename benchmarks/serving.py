"""How many images the server gives: ApacheBench on the loopback, against a generator of Fashion-MNIST's size.

Run it with nothing else on the machine: ``python -m benchmarks.serving``. The weights are random, it downloads nothing. It
needs ``ab``, which Debian has in ``apache2-utils``.
"""

import argparse
import csv
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from benchmarks import report
from benchmarks.machine import describe_machine
from benchmarks.tracked import temporary_store
from src.config.params import Params
from src.core.arguments import Parser
from src.core.errors import UserError, run_command
from src.networks.description import build_pair
from src.networks.interface import Generator
from src.registry.export import add_version
from src.tracking.origin import Origin
from src.tracking.runs import new_run

ROOT = Path(__file__).parent.parent
MODEL = "gan-benchmark"
CLASSES = tuple(f"class {number}" for number in range(10))


@dataclass(frozen=True)
class Answer:
    """What ApacheBench found."""

    rate: float
    """requests a second"""
    median: float
    """milliseconds, as the next"""
    slowest: float
    """the 99th percentile"""

    def cells(self, images: int) -> dict[str, str]:
        """Of the row of the table."""
        return {
            "requests/s": f"{self.rate:,.1f}",
            "images/s": f"{self.rate * images:,.0f}",
            "p50 ms": f"{self.median:,.1f}",
            "p99 ms": f"{self.slowest:,.1f}",
        }


def random_generator(width: int) -> Generator:
    """The default generator for 28 x 28 grey images of 10 classes, with fresh weights."""
    torch.manual_seed(0)
    model = Params().model.model_dump() | {"width": width}
    return build_pair(**model, channels=1, image_size=28, class_count=10)[0]


@contextmanager
def server(workers: int) -> Iterator[str]:
    """The address of a server of the model in the present store; it ends with the context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "src.serve", MODEL, "--port", str(port), "--workers", str(workers)]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(f"{address}/ping", process)
            yield f"{address}/invocations"
        finally:
            process.terminate()


def wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float = 120) -> None:
    """Wait until the server answers. Raises UserError when it ends or takes too long."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise UserError("the server did not start; its output is above")


def load(url: str, images: int, form: str, clients: int, seconds: int) -> Answer:
    """Ask for ``images`` images a request, from ``clients`` clients at a time. Raises UserError when answers are wrong."""
    rows = [[CLASSES[number % 10], number] for number in range(images)]
    with tempfile.TemporaryDirectory() as folder:
        body, times = Path(folder) / "body.json", Path(folder) / "times.csv"
        body.write_text(json.dumps({"inputs": rows, "params": {"format": form}}), encoding="utf-8")
        command = ["ab", "-q", "-s", "120", "-t", str(seconds), "-n", "1000000", "-c", str(clients), "-e", str(times)]
        done = subprocess.run(
            [*command, "-p", str(body), "-T", "application/json", url], capture_output=True, text=True, check=False
        )
        if (
            done.returncode
            or not times.exists()
            or "Non-2xx" in done.stdout
            or not re.search(r"Failed requests: +0\n", done.stdout)
        ):
            raise UserError(f"ab could not measure {url}:\n{done.stdout}{done.stderr}")
        with times.open(encoding="utf-8") as file:
            percentiles = {row[0]: float(row[1]) for row in list(csv.reader(file))[1:]}
    # Of few requests ab knows no 99th percentile, and writes 0.
    found = re.search(r"Requests per second: +([\d.]+)", done.stdout)
    assert found is not None
    return Answer(float(found[1]), percentiles["50"], percentiles["99"] or max(percentiles.values()))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m benchmarks.serving", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], help="how many ask at a time")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 64], help="images a request")
    parser.add_argument("--seconds", type=int, default=15, help="of each measurement, after a warm-up")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    parser.add_argument("--width", type=int, default=48, help="of the generator, as model.width")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Register, serve, measure, and print the table."""
    options = parse_arguments(arguments)
    if shutil.which("ab") is None:
        raise UserError("ab (ApacheBench) is not installed; Debian and Ubuntu have it in apache2-utils")
    print(f"serving on {describe_machine(torch.device('cpu'))}, {options.workers} process(es)", flush=True)
    rows = []
    with temporary_store():
        with new_run("benchmark", Origin.here("serving", {}, {})) as run:
            version, _ = add_version(run, random_generator(options.width), MODEL, CLASSES, {"dataset": "random"})
            run.client.set_registered_model_alias(MODEL, "champion", version.version)
        with server(options.workers) as url:
            for images, form in product(options.images, ("array", "png")):
                load(url, images, form, clients=1, seconds=5)
                for clients in options.clients:
                    what = {"images": str(images), "format": form, "clients": str(clients)}
                    rows.append(what | load(url, images, form, clients, options.seconds).cells(images))
    print(f"\n{report.table(rows, markdown=options.markdown)}")


if __name__ == "__main__":
    run_command(main)
