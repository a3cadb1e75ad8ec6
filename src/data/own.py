"""The user's own images: files of any size and mode in a folder, made equal, and a report of those that cannot be read."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
"""reasons that are printed; the report has all"""
COMPONENTS = 50
"""of the pixels, that clusters are found by"""


@dataclass(frozen=True)
class Found:
    """Image files, and the class of each."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    """empty where there are no class folders"""
    left_out: dict[str, str] = field(default_factory=dict)
    """files that are no image or have no class, each with the reason"""


def save_own(data: Data, destination: Path) -> str:
    """Read the images of ``data.folder`` into ``destination``, and a report beside them; returns a line about them.

    One folder a class, or no folders at all: then the labels are clusters of similar images, found by k-means. Each image is
    turned upright, cut to a square around its middle and resized. Raises UserError when there is no image, or a class of which
    none can be read.
    """
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
    if empty := [name for label, name in enumerate(class_names) if not (labels == label).any()]:
        raise UserError(f"{folder}: no image of class {', '.join(empty)} can be read; see {report_path}")
    left_out = {**found.left_out, **unreadable}
    made = "folders" if found.class_names else f"k-means on {COMPONENTS} principal components of the pixels"
    about = {"class_names": class_names, "labels_from": made, "images_left_out": len(left_out)}
    _save(images, labels, about, destination / OWN_FILE)
    write_json({**about, "images": len(images), "left_out": left_out}, report_path)
    sizes = f"{data.image_size} x {data.image_size}, {'grey' if data.channels == 1 else 'colour'}"
    return f"{len(images):,} images of {folder} ({sizes}; {len(class_names)} classes from {made}; {len(left_out)} left out)"


def find_images(folder: Path) -> Found:
    """The image files below ``folder``, by name, hidden ones apart. Raises UserError when there are none."""
    known = Image.registered_extensions()
    files, left_out = [], {}
    for path in sorted(_walk(folder)):
        if path.suffix.lower() in known:
            files.append(path)
        else:
            left_out[str(path.relative_to(folder))] = "no image by its name"
    classes = sorted({path.relative_to(folder).parts[0] for path in files if path.parent != folder})
    if not files:
        raise UserError(
            f"params.yaml: data.folder: {folder} holds no image; it must have one folder of images for each class, or images "
            "alone"
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
    """The images that can be read, their places in ``found``, and why others cannot."""
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
    """An image file as uint8 (channels, size, size): upright, its middle square, resized; what is transparent becomes white.

    Of a moving image, the first picture. Raises what Pillow raises for a file that it cannot read.
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
    """Sixteen bits a pixel become eight; Pillow itself would cut off what is above 255."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"values of {values.min()} to {values.max()}; only 8 and 16 bits can be read")
        return Image.fromarray((values // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point values; only 8 and 16 bits can be read")
    return image


def clusters(images: Tensor, count: int, seed: int) -> Tensor:
    """Labels int64 (N,) of images without classes: clusters of similar ones, by k-means. Raises UserError for too few images.

    Conditioning on clusters: Liu et al. (2020), Diverse image generation via self-conditioned GANs.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    if len(images) < 2 * count:
        raise UserError(
            f"params.yaml: data.clusters: {count} clusters of {len(images)} images; there must be twice as many images"
        )
    pixels = images.flatten(1).numpy().astype(np.float32) / 255
    components = min(COMPONENTS, *pixels.shape)
    reduced = PCA(components, svd_solver="randomized", random_state=seed).fit_transform(pixels)
    return torch.from_numpy(KMeans(count, n_init=4, random_state=seed).fit_predict(reduced)).long()


def _save(images: Tensor, labels: Tensor, about: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save

    metadata = {"about": json.dumps(about, sort_keys=True)}
    with replacing(path) as part:
        part.write_bytes(save({"images": images, "labels": labels}, metadata))


def load_own(path: Path) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """What :func:`save_own` wrote: images, labels, and what is known of them. Raises what safetensors raises, and KeyError."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.get_tensor("images"), file.get_tensor("labels"), json.loads(file.metadata()["about"])
