"""Animated GIFs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.files import replacing

if TYPE_CHECKING:
    from PIL import Image

GREYS = 64
"""Fewer than 256 make files a third smaller, and steps of 4 in 255 are not visible in samples."""
COLOURS = 256


def save_animation(frames: Sequence[Path], path: Path, seconds: float = 0.4, hold: float = 2.0) -> None:
    """Write image files as an endless animation, ``seconds`` each and the last one ``hold``."""
    save_pictures([_read(frame) for frame in frames], path, seconds, hold)


def save_there_and_back(frames: Sequence["Image.Image"], path: Path, seconds: float = 0.08) -> None:
    """Write pictures as an endless animation in order and back again."""
    save_pictures([*frames, *frames[-2:0:-1]], path, seconds, seconds)


def save_pictures(frames: Sequence["Image.Image"], path: Path, seconds: float, hold: float) -> None:
    """Write RGB pictures as an endless animation, ``seconds`` each and the last one ``hold``.

    Smaller pictures are padded with white on the right and below. Grey pictures share 64 levels, others an adaptive
    palette of 256 colours, both without dithering. Equal neighbours become one frame with the sum of their times. The
    same input gives the same bytes. Raises ValueError without frames.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    pictures = _one_palette(_one_size(frames))
    times = [round(1000 * seconds)] * (len(pictures) - 1) + [round(1000 * hold)]
    with replacing(path) as part:
        pictures[0].save(part, format="GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0)


def _read(path: Path) -> "Image.Image":
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def _one_size(pictures: Sequence["Image.Image"]) -> list["Image.Image"]:
    from PIL import Image

    size = (max(picture.width for picture in pictures), max(picture.height for picture in pictures))
    padded = [Image.new("RGB", size, "white") for _ in pictures]
    for canvas, picture in zip(padded, pictures, strict=True):
        canvas.paste(picture, (0, 0))
    return padded


def _one_palette(pictures: Sequence["Image.Image"]) -> list["Image.Image"]:
    if all(_is_grey(picture) for picture in pictures):
        return [_in_greys(picture.getchannel(0)) for picture in pictures]
    return _in_shared_colours(pictures)


def _in_greys(picture: "Image.Image") -> "Image.Image":
    steps = GREYS - 1
    indices = picture.point([round(value * steps / 255) for value in range(256)])
    indices.putpalette([round(index * 255 / steps) for index in range(GREYS) for _ in "rgb"])
    return indices


def _in_shared_colours(pictures: Sequence["Image.Image"]) -> list["Image.Image"]:
    from PIL import Image

    width, height = pictures[0].size
    together = Image.new("RGB", (width, height * len(pictures)))
    for index, picture in enumerate(pictures):
        together.paste(picture, (0, index * height))
    # One palette for all frames: with one for each, constant colours would flicker.
    quantized = together.quantize(COLOURS, dither=Image.Dither.NONE)
    return [quantized.crop((0, top, width, top + height)) for top in range(0, together.height, height)]


def _is_grey(picture: "Image.Image") -> bool:
    red, green, blue = (channel.tobytes() for channel in picture.split())
    return red == green == blue
