"""Which models came from this? ``python -m src.lineage HASH``

HASH is a git commit, or the hash of data, classifier, generator, requirements, the stored difference from the
commit, or one of DVC's own; its first digits are enough (6 or more).
"""

import argparse
import re
from collections.abc import Sequence

from src.errors import UserError, run_command
from src.tables import aligned

KINDS = {
    "git.commit": "trained at commit",
    "registered.git.commit": "registered at commit",
    "git.diff.sha256": "difference from the commit",
    "code.sha256": "code",
    "data.hash": "data",
    "classifier.hash": "classifier",
    "generator.hash": "generator",
    "requirements.sha256": "requirements",
    "dvc.lock.sha256": "dvc.lock",
    "dvc.exp.baseline.rev": "DVC experiment's baseline",
}
OUTPUT = "dvc.out."


def matches(tags: dict[str, str], digits: str) -> list[str]:
    """What of a version has a hash that begins with these digits."""
    found = [title for tag, title in KINDS.items() if tags.get(tag, "").startswith(digits)]
    found += [
        f"DVC {tag.removeprefix(OUTPUT)}"
        for tag, value in sorted(tags.items())
        if tag.startswith(OUTPUT) and value.startswith(digits)
    ]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """List the versions that came from a hash."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="python -m src.lineage", description=lines[0], epilog=" ".join(lines[2:]))
    parser.add_argument("hash", metavar="HASH", help="at least 6 hexadecimal digits")
    digits = parser.parse_args(arguments).hash.lower()
    if not re.fullmatch(r"[0-9a-f]{6,64}(\.dir)?", digits):
        raise UserError(f"{digits!r} is not a hash: write 6 to 64 hexadecimal digits")
    from src.tracking import registry, store

    client = store.connect(registry_alone=True)
    rows = []
    for model in registry.models(client):
        aliases = registry.own_aliases(client, model.name)
        for version in registry.versions_of(client, model.name):
            if found := matches(version.tags, digits):
                rows.append(
                    {
                        "model": registry.called(version),
                        "alias": ", ".join(aliases.get(str(version.version), [])),
                        "what has this hash": ", ".join(found),
                        "validation.score": version.tags.get("validation.score", ""),
                        "run": registry.run_of(version),
                    }
                )
    if not rows:
        raise UserError(f"no model in the registry at {store.where()} came from {digits}")
    print(aligned(rows))


if __name__ == "__main__":
    run_command(main)
