"""The user's own images: files of any size and mode, converted to one format, and a report of those that cannot be read."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..config.params import Data
from ..core.errors import UserError
from ..core.files import replacing, write_json
from ..core.progress import counted
from .info import OWN_FILE, OWN_REPORT

SHOWN = 10
"""number of reasons that are printed; the report has all"""
COMPONENTS = 50
"""principal components of the pixels, in which clusters are found"""


@dataclass(frozen=True)
class Found:
    """Image files and their classes."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    """empty if there are no class folders"""
    left_out: dict[str, str] = field(default_factory=dict)
    """files that are not an image or have no class, with the reason"""


def save_own(data: Data, destination: Path) -> str:
    """Convert the images of ``data.folder`` into ``destination``, with a report; returns a summary of one line.

    Classes are folders; without folders, labels are clusters of similar images, found by k-means. Images are rotated upright,
    cropped to their central square and resized. Raises UserError if there is no image, or a class without a readable image.
    """
    from safetensors.torch import save

    folder = Path(data.folder).expanduser()
    found = find_images(folder)
    images, kept, unreadable = _read_all(found, data, folder)
    for name, reason in list(unreadable.items())[:SHOWN]:
        print(f"left out: {name}: {reason}")
    report_path = destination / OWN_REPORT
    if len(unreadable) > SHOWN:
        print(f"left out: {len(unreadable) - SHOWN} more; all are in {report_path}")
    labels = torch.tensor([found.labels[place] for place in kept], dtype=torch.int64)
    class_names = found.class_names
    if not class_names:
        labels = clusters(images, data.clusters, data.split_seed)
        class_names = tuple(f"cluster {number}" for number in range(data.clusters))
    left_out = {**found.left_out, **unreadable}
    made = "folders" if found.class_names else f"k-means on {COMPONENTS} principal components of the pixels"
    about = {"class_names": class_names, "labels_from": made, "images_left_out": len(left_out)}
    write_json({**about, "images": len(images), "left_out": left_out}, report_path)
    if empty := [name for label, name in enumerate(class_names) if not (labels == label).any()]:
        raise UserError(f"{folder}: no image of class {', '.join(empty)} can be read; see {report_path}")
    with replacing(destination / OWN_FILE) as part:
        part.write_bytes(save({"images": images, "labels": labels}, {"about": json.dumps(about, sort_keys=True)}))
    sizes = f"{data.image_size} x {data.image_size}, {'grey' if data.channels == 1 else 'colour'}"
    return f"{len(images):,} images of {folder} ({sizes}; {len(class_names)} classes from {made}; {len(left_out)} left out)"


def find_images(folder: Path) -> Found:
    """The image files below ``folder`` in order of their names, without hidden ones. Raises UserError if there are none."""
    known = Image.registered_extensions()
    files, left_out = [], {}
    for path in sorted(_walk(folder)):
        if path.suffix.lower() in known:
            files.append(path)
        else:
            left_out[str(path.relative_to(folder))] = "not an image by its name"
    classes = sorted({path.relative_to(folder).parts[0] for path in files if path.parent != folder})
    if not files:
        raise UserError(
            f"params.yaml: data.folder: {folder} has no images; it needs one folder of images for each class, or images "
            "without folders"
        )
    if not classes:
        return Found(tuple(files), (0,) * len(files), (), left_out)
    for path in files:
        if path.parent == folder:
            left_out[path.name] = "beside the class folders"
    inside = [path for path in files if path.parent != folder]
    labels = tuple(classes.index(path.relative_to(folder).parts[0]) for path in inside)
    if len(classes) == 1:
        return Found(tuple(inside), labels, (), left_out)
    return Found(tuple(inside), labels, tuple(classes), left_out)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _read_all(found: Found, data: Data, folder: Path) -> tuple[Tensor, list[int], dict[str, str]]:
    """The images that can be read, their indices in ``found``, and why the others cannot be read."""
    read, kept, unreadable = [], [], {}

    def attempt(path: Path) -> Tensor | str:
        try:
            return read_image(path, data.image_size, data.channels)
        except Exception as error:  # whatever Pillow's readers raise on a damaged file
            return " ".join(str(error).split()) or type(error).__name__

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = counted(pool.map(attempt, found.files), len(found.files), "images read")
        for place, result in enumerate(results):
            if isinstance(result, str):
                unreadable[str(found.files[place].relative_to(folder))] = result
            else:
                read.append(result)
                kept.append(place)
    if not read:
        name, reason = next(iter(unreadable.items()))
        raise UserError(f"{folder}: none of {len(found.files)} images can be read; the first is {name}: {reason}")
    return torch.stack(read), kept, unreadable


def read_image(path: Path, size: int, channels: int) -> Tensor:
    """The central square of an image file, resized: uint8 (channels, size, size), upright, on white if it is transparent.

    Of an animation, the first frame. Raises the errors of Pillow for a file that it cannot read.
    """
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
    flat = _eight_bits(upright)
    if flat.mode in ("RGBA", "LA", "PA") or "transparency" in flat.info:
        flat = flat.convert("RGBA")
        white = Image.new("RGBA", flat.size, "white")
        flat = Image.alpha_composite(white, flat)
    square = ImageOps.fit(flat.convert("L" if channels == 1 else "RGB"), (size, size), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(square, dtype=np.uint8))
    return pixels.reshape(size, size, channels).permute(2, 0, 1).contiguous()


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale sixteen bits per pixel to eight; Pillow itself clips values above 255."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"values of {values.min()} to {values.max()}; only 8 and 16 bits are supported")
        return Image.fromarray((values // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point values; only 8 and 16 bits are supported")
    return image


def clusters(images: Tensor, count: int, seed: int) -> Tensor:
    """Labels int64 (N,) of images without classes: k-means clusters of similar images. Raises UserError for too few images.

    Conditioning on clusters: Liu et al. (2020), Diverse image generation via self-conditioned GANs.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    if len(images) < 2 * count:
        raise UserError(
            f"params.yaml: data.clusters: {count} clusters of {len(images)} images; there must be at least twice as many images"
        )
    pixels = images.flatten(1).numpy().astype(np.float32) / 255
    components = min(COMPONENTS, *pixels.shape)
    reduced = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(pixels)
    return torch.from_numpy(KMeans(count, n_init=4, random_state=seed).fit_predict(reduced)).long()
