import pytest

from src.core.errors import UserError
from src.networks.families.base import channels_at, possible, sizes_of


@pytest.mark.parametrize(
    ("size", "fewest", "expected"),
    [
        (8, 2, [2, 4, 8]),
        (8, 1, [4, 8]),
        (16, 2, [4, 8, 16]),
        (28, 1, [7, 14, 28]),
        (28, 2, [7, 14, 28]),
        (32, 2, [4, 8, 16, 32]),
        (64, 2, [4, 8, 16, 32, 64]),
        (128, 1, [4, 8, 16, 32, 64, 128]),
        (96, 2, [6, 12, 24, 48, 96]),
    ],
)
def test_sizes_double_up_to_the_image(size: int, fewest: int, expected: list[int]) -> None:
    assert sizes_of("dcgan", size, fewest) == expected


@pytest.mark.parametrize("size", [1, 4, 9, 30, 34, 100, 127])
def test_a_size_that_cannot_be_halved_is_refused_with_those_that_can(size: int) -> None:
    with pytest.raises(UserError) as caught:
        sizes_of("resnet", size)
    message = str(caught.value)
    assert message.startswith(
        f"model.family resnet does not support {size} x {size} images; supported sizes are 8, 12,"
    )
    assert message.endswith(" 192, 224, 256")
    assert str(size) not in message.partition("; ")[2].split(", ")


@pytest.mark.parametrize("fewest", [1, 2])
def test_every_size_that_is_listed_can_be_made_and_no_other(fewest: int) -> None:
    def can(size: int) -> bool:
        try:
            return sizes_of("dcgan", size, fewest)[-1] == size
        except UserError:
            return False

    assert possible(fewest) == [size for size in range(1, 257) if can(size)]
    assert {8, 16, 28, 32, 64, 128} <= set(possible(fewest))


def test_channels_halve_as_the_image_doubles() -> None:
    assert [channels_at(size, 28, 48) for size in (7, 14, 28)] == [48, 24, 12]
    assert [channels_at(size, 128, 64) for size in (4, 8, 16, 32, 64, 128)] == [512, 256, 128, 64, 32, 16]
    assert [channels_at(size, 256, 64) for size in (4, 8)] == [512, 512]
    assert channels_at(4, 256, 1000) == 1000
    assert channels_at(8, 8, 1) == 1
