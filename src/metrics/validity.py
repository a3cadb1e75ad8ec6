"""Are these images that can be scored at all?"""

from src.errors import UserError


def need(count: int, at_least: int, what: str) -> None:
    """Raise a UserError where there are too few images for a metric."""
    if count < at_least:
        raise UserError(f"{what}: needs at least {at_least} images, there are {count}; raise evaluate.samples")
