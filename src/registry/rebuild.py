"""Rebuilds a registered version from its commit, and compares the result with what is registered."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from ruamel.yaml import YAML

from ..core import paths
from ..core.errors import UserError
from ..evaluation.catalogue import CATALOGUE
from ..evaluation.comparison import StoredScorecard
from ..networks.description import load_classifier, load_generator
from ..networks.interface import Generator
from ..networks.weights import content_hash
from ..tracking import origin
from ..tracking.origin import recorded_params
from ..tracking.runs import PATCH
from . import facts, stored_scorecards, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PLACE = Path("models/rebuilds")
UNFINISHED = ".rebuilding"
"""file in the worktree until the comparison"""
MACHINE = ("cpu", "threads", "device", "requirements.sha256", "version.")
"""tags of a version's environment; if they differ, expect different bits"""


@dataclass(frozen=True)
class Rebuilt:
    """The result of a rebuild, compared with what is registered."""

    name: str
    hashes: dict[str, tuple[str, str]]
    """of data, classifier and generator: registered, rebuilt"""
    scores: dict[str, tuple[float, float]]
    """by title: registered, rebuilt"""
    furthest: float | None
    """the largest difference between two weights of the generators; None where their shapes differ"""
    machine: dict[str, tuple[str, str]]
    """differences of the environment: then, now"""
    seconds: float
    kept: Path | None

    @property
    def equal(self) -> bool:
        """Whether the generator has the same bits and every score is the same."""
        ours, theirs = self.hashes["generator"]
        return ours == theirs and all(one == other for one, other in self.scores.values())


def rebuild(client: "MlflowClient", version: "ModelVersion", root: Path, *, keep: bool = False) -> Rebuilt:
    """Check out the version's commit beside the project, apply the stored diff, and run ``dvc repro evaluate`` there.

    DVC's cache is empty there, so that every stage runs. It takes as long as the pipeline did; run the same command to resume
    an interrupted rebuild. The project's files and MLflow store are not changed. Raises UserError if the version's
    origin is unknown, and for a stage that fails.
    """
    name = versions.called(version)
    folder = root / PLACE / f"{version.name}-{version.version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(f"{folder}.lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process is rebuilding {name} in {folder}") from None
    with lock:
        known = facts.facts(client, version)
        registered, scorecard = versions.load_version(client, version), stored_scorecards.find_scorecard(name)
        commit = known.get("git.commit", "none")
        if not origin.git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", folder=root):
            raise UserError(
                f"{name} was made from commit {commit}, which this repository does not have; fetch it first"
            )
        patch, recorded = _patch(client, version, known), _recorded(client, version)
        if not (folder / UNFINISHED).is_file():
            _check_out(root, folder, commit, patch, recorded)
        began = time.perf_counter()
        _repro(folder, known)
        seconds = time.perf_counter() - began
        (folder / UNFINISHED).unlink()  # the next rebuild starts from the beginning
        outcome = _compared(name, known, registered.network, scorecard, folder, seconds, kept=folder if keep else None)
        if not keep:
            _remove(root, folder)
        return outcome


def _patch(client: "MlflowClient", version: "ModelVersion", known: Mapping[str, str]) -> bytes:
    """The difference between the version's code and its commit, as a patch."""
    if known.get("git.dirty") == "false" and "git.diff.sha256" not in known:
        return b""
    run_id = facts.run_of(version)
    from mlflow.exceptions import MlflowException

    with TemporaryDirectory() as place:
        try:
            patch = Path(client.download_artifacts(str(run_id), PATCH, place)).read_bytes()
        except (MlflowException, OSError):
            raise UserError(
                f"{versions.called(version)} was made by code that differs from its commit, and run {run_id} does not have the "
                f"difference, {PATCH}"
            ) from None
    for line in patch.decode(errors="replace").splitlines():
        if line.startswith(origin.TOO_LARGE):
            print(f"a file that was not in git is missing from the rebuild: {line.removeprefix(origin.TOO_LARGE)}")
    return patch


def _recorded(client: "MlflowClient", version: "ModelVersion") -> dict[str, Any]:
    """The recorded parameters of its run; empty if the store has lost the run."""
    from mlflow.exceptions import MlflowException

    try:
        return recorded_params(client.get_run(str(facts.run_of(version))).data.params)
    except MlflowException:
        return {}


def _check_out(root: Path, folder: Path, commit: str, patch: bytes, recorded: Mapping[str, Any]) -> None:
    """A worktree of the commit with the patch, the recorded parameters, and an empty DVC cache."""
    _remove(root, folder)
    try:
        _git(root, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        if patch:
            _git(folder, "apply", "--whitespace=nowarn", "-", given=patch)
    except UserError:
        _remove(root, folder)
        raise
    _write_recorded(root, folder / paths.PARAMS, recorded)
    (folder / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")  # not a shared one
    (folder / UNFINISHED).touch()


def _git(folder: Path, *arguments: str, given: bytes = b"") -> None:
    """Run git in a folder. Raises UserError with what it says when it fails."""
    result = subprocess.run(["git", *arguments], cwd=folder, input=given, capture_output=True, check=False)
    if result.returncode:
        why = " ".join(result.stderr.decode(errors="replace").split())
        raise UserError(f"`git {' '.join(arguments[:2])} ...` failed: {why}")


def _write_recorded(root: Path, params: Path, recorded: Mapping[str, Any]) -> None:
    """Write the recorded parameters into the worktree's file; a relative data.folder means a place in the project.

    The file is that of the commit, whose parameters may have other names than today's, so it is not validated.
    """
    yaml = YAML()
    yaml.width = 4096
    content = yaml.load(params.read_text(encoding="utf-8"))
    values = dict(recorded)
    local = values.get("data.folder") or content["data"].get("folder")
    if local:
        values["data.folder"] = str((root / local).resolve())
    for dotted, value in values.items():
        section, _, name = dotted.partition(".")
        entries = content.get(section)
        if section != "tune" and entries is not None and entries.get(name) != value:
            entries[name] = value
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def _remove(root: Path, folder: Path) -> None:
    subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=root, capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "worktree", "prune"], cwd=root, capture_output=True, check=False)


def _repro(folder: Path, known: Mapping[str, str]) -> None:
    """Run every unfinished stage, with the original number of threads and a separate MLflow store."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "PYTHONPATH"))}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    if known.get("threads", "").isdecimal():
        environment["OMP_NUM_THREADS"] = known["threads"]
    command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", "evaluate"]
    # DVC would inherit that SIGINT is ignored, as in the background of a script, and could not be interrupted.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    # In its own process group: DVC ignores an interrupt while a stage handles it.
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    signal.signal(signal.SIGINT, handler)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)  # training saves a checkpoint
        process.wait()
        print(f"finished stages are kept in {folder}; run the same command to resume")
        raise
    if status:
        raise UserError(
            f"`dvc repro` failed with status {status}, see its message above; {folder} is kept: run the same "
            "command to resume"
        )


def _compared(
    name: str,
    tags: Mapping[str, str],
    registered: Generator,
    scorecard: StoredScorecard,
    folder: Path,
    seconds: float,
    kept: Path | None,
) -> Rebuilt:
    generator, again = (
        load_generator(folder / paths.GAN),
        stored_scorecards.read_scorecard(folder / paths.EVALUATION, name),
    )
    now = {**tags, **origin.code_tags(), **origin.machine_tags()}
    prepared = json.loads((folder / paths.PREPARED / "card.json").read_text(encoding="utf-8"))
    hashes = {
        "data": (tags.get("data.hash", ""), prepared["content_hash"]),
        "classifier": (scorecard.card.classifier_hash, content_hash(load_classifier(folder / paths.CLASSIFIER))),
        "generator": (content_hash(registered), content_hash(generator)),
    }
    scores = {
        about.title: (scorecard.card.generated[key].value, again.card.generated[key].value)
        for key, about in CATALOGUE.items()
        if key in scorecard.card.generated and key in again.card.generated
    }
    return Rebuilt(name, hashes, scores, _furthest(registered, generator), dict(_machine(tags, now)), seconds, kept)


def _furthest(one: Generator, other: Generator) -> float | None:
    ours, theirs = one.state_dict(), other.state_dict()
    if {key: value.shape for key, value in ours.items()} != {key: value.shape for key, value in theirs.items()}:
        return None
    return max(float((ours[key].double() - theirs[key].double()).abs().max()) for key in ours)


def _machine(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for tag in sorted(then.keys() | now.keys()):
        pair = then.get(tag, "unknown"), now.get(tag, "unknown")
        if tag.startswith(MACHINE) and pair[0] != pair[1]:
            yield tag, pair


def report(outcome: Rebuilt) -> str:
    """The result as text."""
    lines = [f"{outcome.name} rebuilt in {outcome.seconds / 60:.1f} minutes"]
    lines += [f"  in {outcome.kept}"] * bool(outcome.kept)
    for kind, (then, now) in outcome.hashes.items():
        lines.append(f"  {kind:<10}  {then[:16]}  {'the same' if then == now else f'{now[:16]}  DIFFERENT'}")
    differing = {title: pair for title, pair in outcome.scores.items() if pair[0] != pair[1]}
    lines.append(f"  {len(outcome.scores) - len(differing)} of {len(outcome.scores)} scores are identical")
    if outcome.equal:
        return "\n".join([*lines, "Equal: the generator is bit-identical and has the same scores."])
    lines += [
        f"    {title}: {then:.6g} registered, {now:.6g} now ({now - then:+.3g})"
        for title, (then, now) in differing.items()
    ]
    if outcome.furthest is not None:
        lines.append(f"  weights of the generator differ by at most {outcome.furthest:.3g}")
    if outcome.machine:
        lines.append("  differences of the environment:")
        lines += [f"    {tag}: {then} then, {now} now" for tag, (then, now) in outcome.machine.items()]
    else:
        lines.append("  processor, threads, packages and device are the same, so the bits should have been identical")
    return "\n".join(lines)
