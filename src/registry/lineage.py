"""Which registered versions came from a hash."""

from typing import TYPE_CHECKING, Any

from . import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

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


def came_from(client: "MlflowClient", digits: str) -> list[dict[str, Any]]:
    """A row a version that came from a hash with these first digits."""
    rows = []
    for model in versions.models(client):
        aliases = versions.own_aliases(client, model.name)
        for version in versions.versions_of(client, model.name):
            if found := matches(version.tags, digits):
                rows.append(
                    {
                        "model": versions.called(version),
                        "alias": ", ".join(aliases.get(str(version.version), [])),
                        "what has this hash": ", ".join(found),
                        "validation.score": version.tags.get("validation.score", ""),
                        "run": versions.run_of(version),
                    }
                )
    return rows
