from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.core.errors import UserError
from src.sampling.animation import save_animation, save_there_and_back


def write(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def grey_frames(folder: Path) -> list[Path]:
    """Three pictures with every grey, each turned otherwise; the second is 5 pixels wider, the third 4 higher."""
    greys = np.arange(256).reshape(16, 16)
    sizes = ((16, 16), (16, 21), (20, 16))
    frames = []
    for turn, (height, width) in enumerate(sizes):
        pixels = np.full((height, width), 7 * turn)
        pixels[:16, :16] = np.rot90(greys, turn)
        frames.append(write(folder / f"step_{turn}.png", np.repeat(pixels[:, :, None], 3, axis=2)))
    return frames


def read(path: Path) -> tuple[list[np.ndarray], list[int], int]:
    """The frames in RGB, their times in milliseconds, and the number of repeats."""
    with Image.open(path) as image:
        assert image.format == "GIF"
        frames, times = [], []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")).astype(int))
            times.append(image.info["duration"])
        return frames, times, image.info["loop"]


def test_frames_keep_their_order_and_the_last_is_held(tmp_path: Path) -> None:
    paths = grey_frames(tmp_path)
    save_animation(paths, tmp_path / "new" / "training.gif", seconds=0.3, hold=1.5)
    frames, times, loop = read(tmp_path / "new" / "training.gif")
    assert (times, loop) == ([300, 300, 1500], 0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["training.gif"]
    for frame, path in zip(frames, paths, strict=True):
        with Image.open(path) as image:
            original = np.asarray(image).astype(int)
        height, width, _ = original.shape
        assert frame.shape == (20, 21, 3)
        # 64 steps from 0 to 255 are 255 / 63 apart, so that a pixel moves by half of that at most.
        assert np.abs(frame[:height, :width] - original).max() <= 2
        assert (frame[height:] == 255).all()
        assert (frame[:, width:] == 255).all()
        assert (frame[:height, :width] == original)[(original == 0) | (original == 255)].all()
        assert (frame[:, :, 0] == frame[:, :, 2]).all()
    save_animation(paths[::-1], tmp_path / "back.gif")
    back, times, _ = read(tmp_path / "back.gif")
    assert times == [400, 400, 2000]
    assert all((one == other).all() for one, other in zip(back, frames[::-1], strict=True))


def test_few_colours_are_kept_as_they_are(tmp_path: Path) -> None:
    pixels = np.full((30, 40, 3), 255)
    pixels[5:25, 5:20] = (200, 30, 40)
    first = write(tmp_path / "first.png", pixels)
    pixels[5:25, 22:35] = (10, 120, 220)
    second = write(tmp_path / "second.png", pixels)
    save_animation([first, second], tmp_path / "colour.gif")
    frames, _, _ = read(tmp_path / "colour.gif")
    assert [tuple(frame[10, 10]) for frame in frames] == [(200, 30, 40)] * 2
    assert [tuple(frame[10, 30]) for frame in frames] == [(255, 255, 255), (10, 120, 220)]
    assert (frames[1] == pixels).all()


def test_many_colours_stay_near_without_dithering(tmp_path: Path) -> None:
    red, blue = np.meshgrid(np.arange(0, 256, 4), np.arange(0, 256, 4))
    pixels = np.stack([red, np.full_like(red, 90), blue], axis=2)
    frame = write(tmp_path / "frame.png", pixels.repeat(2, 0).repeat(2, 1))
    save_animation([frame], tmp_path / "colour.gif", hold=0.5)
    (shown,), times, _ = read(tmp_path / "colour.gif")
    assert times == [500]
    assert np.abs(shown[::2, ::2] - pixels).mean() < 5
    for down, across in ((0, 1), (1, 0), (1, 1)):  # equal pixels stay equal
        assert (shown[down::2, across::2] == shown[::2, ::2]).all()


def test_equal_neighbours_share_a_frame_and_keep_their_time(tmp_path: Path) -> None:
    one, other, _ = grey_frames(tmp_path)
    save_animation([one, other, other], tmp_path / "training.gif", seconds=0.2, hold=1)
    frames, times, _ = read(tmp_path / "training.gif")
    assert (len(frames), times) == (2, [200, 1200])


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    frames = grey_frames(tmp_path)
    for name in ("a.gif", "b.gif"):
        save_animation(frames, tmp_path / name)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_there_and_back_joins_the_end_to_the_beginning(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), (grey, grey, grey)) for grey in (0, 85, 170, 255)]
    save_there_and_back(pictures, tmp_path / "walk.gif", seconds=0.1)
    frames, times, loop = read(tmp_path / "walk.gif")
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 85, 170, 255, 170, 85]
    assert (times, loop) == ([100] * 6, 0)
    save_there_and_back(pictures[::3], tmp_path / "two.gif", seconds=0.1)
    assert [int(frame[0, 0, 0]) for frame in read(tmp_path / "two.gif")[0]] == [0, 255]


def test_without_frames_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        save_animation([], tmp_path / "training.gif")
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        save_animation([tmp_path / "missing.png"], tmp_path / "training.gif")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"training\.gif cannot be written"):
        save_animation(grey_frames(tmp_path), tmp_path / "file" / "training.gif")
    assert not list(tmp_path.glob("*.gif*"))
