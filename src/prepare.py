"""Stage ``prepare``: data/raw into data/prepared: the three splits, a data card, and a picture of what is in there."""

import torch

from src import paths
from src.datasets.readers import read_raw
from src.datasets.store import Split, load, split_and_save
from src.errors import run_command
from src.params import load_params
from src.pictures.grids import save_grid


def main() -> None:
    """Split the raw images and describe them."""
    data_params = load_params().data
    card = split_and_save(read_raw(data_params.dataset, paths.RAW), data_params, paths.PREPARED)
    prepared = load(paths.PREPARED)
    chosen, columns = first_of_each_class(prepared.train, len(prepared.class_names), at_most=10)
    title = f"{card['title']}: training images"
    save_grid(prepared.train.images[chosen], paths.PREPARED / "grid.png", columns, prepared.class_names, title)
    sizes = ", ".join(f"{count:,} {name}" for name, count in card["images"].items())
    print(f"{card['title']}: {sizes} images in {paths.PREPARED}; content {card['content_hash'][:12]}")


def first_of_each_class(split: Split, classes: int, at_most: int) -> tuple[torch.Tensor, int]:
    """Indices of the first images of each class, class by class, and how many there are of each (``at_most``)."""
    columns = min(at_most, int(torch.bincount(split.labels, minlength=classes).min()))
    return torch.cat([(split.labels == label).nonzero()[:columns, 0] for label in range(classes)]), columns


if __name__ == "__main__":
    run_command(main)
