from pathlib import Path


def outboxes() -> list[str]:
    """Names of the folders in mlruns/outbox of the current folder."""
    return sorted(path.name for path in Path("mlruns/outbox").glob("*"))
