"""What is known of each dataset before a byte of it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from src.errors import UserError


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset's names, terms, and the files it has in the raw folder."""

    name: str
    title: str
    licence: str
    citation: str
    class_names: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class IdxFile:
    """One IDX file as its decompressed content: name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


# Verified decompressed, because sources differ in their gzip headers but not in the content.
FASHION_MNIST_FILES = (
    IdxFile("train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    IdxFile("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    IdxFile("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    IdxFile("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)
DIGITS_FILE = "digits.safetensors"

DATASETS: Mapping[str, DatasetInfo] = MappingProxyType(
    {
        "fashion-mnist": DatasetInfo(
            name="fashion-mnist",
            title="Fashion-MNIST",
            licence="MIT",
            citation=(
                "Xiao, H., Rasul, K. and Vollgraf, R. (2017). Fashion-MNIST: a Novel Image Dataset for Benchmarking "
                "Machine Learning Algorithms. arXiv:1708.07747. Zalando SE."
            ),
            class_names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            files=tuple(file.name for file in FASHION_MNIST_FILES),
        ),
        "digits": DatasetInfo(
            name="digits",
            title="Optical Recognition of Handwritten Digits",
            licence="CC BY 4.0",
            citation=(
                "Alpaydin, E. and Kaynak, C. (1998). Optical Recognition of Handwritten Digits. UCI Machine Learning "
                "Repository. doi:10.24432/C50P49. The 1,797 test images, as distributed with scikit-learn."
            ),
            class_names=tuple(str(digit) for digit in range(10)),
            files=(DIGITS_FILE,),
        ),
    }
)


def dataset_info(name: str) -> DatasetInfo:
    """Look a dataset up by its name. Raises UserError for a name that is not in ``DATASETS``."""
    if name not in DATASETS:
        raise UserError(f"{name}: unknown dataset; data.dataset is one of {', '.join(DATASETS)}")
    return DATASETS[name]
