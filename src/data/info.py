"""Names, terms and raw files of each dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..core.errors import UserError


@dataclass(frozen=True)
class DatasetInfo:
    """Names and terms of a dataset, and its files in the raw folder."""

    name: str
    title: str
    licence: str
    citation: str
    class_names: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class RawFile:
    """A file of the raw folder, and the content it must have. One whose name does not end in .gz is kept decompressed."""

    name: str
    digest: str
    algorithm: str = "sha256"
    size: int | None = None
    published_as: str = ""

    @property
    def archive(self) -> str:
        """Its name at a mirror."""
        return self.published_as or f"{self.name}.gz"


# Hashes of the decompressed content, because sources differ in their gzip headers.
FASHION_MNIST_FILES = tuple(
    RawFile(name, digest, size=size)
    for name, size, digest in (
        ("train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        ("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        ("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        ("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    )
)
CIFAR10 = RawFile(
    "cifar10-cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    "md5",
    published_as="cifar-10-binary.tar.gz",
)
"""the archive without pickles, which torchvision does not use; the MD5 is its author's"""
DIGITS_FILE = "digits.safetensors"
OWN_FILE = "own.safetensors"
OWN_REPORT = "own.json"
TEN_DIGITS = tuple(str(digit) for digit in range(10))

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
                *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
                *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
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
            class_names=TEN_DIGITS,
            files=(DIGITS_FILE,),
        ),
        "mnist": DatasetInfo(
            name="mnist",
            title="MNIST",
            licence="CC BY-SA 3.0",
            citation=(
                "LeCun, Y., Cortes, C. and Burges, C. J. C. (1998). The MNIST database of handwritten digits. "
                "http://yann.lecun.com/exdb/mnist"
            ),
            class_names=TEN_DIGITS,
            files=tuple(f"mnist-{file.archive}" for file in FASHION_MNIST_FILES),
        ),
        "kmnist": DatasetInfo(
            name="kmnist",
            title="Kuzushiji-MNIST",
            licence="CC BY-SA 4.0",
            citation=(
                "Clanuwat, T., Bober-Irizar, M., Kitamoto, A., Lamb, A., Yamamoto, K. and Ha, D. (2018). Deep Learning for "
                "Classical Japanese Literature. arXiv:1812.01718. Adapted from the KMJD dataset, NIJL and CODH, "
                "doi:10.20676/00000341."
            ),
            class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            files=tuple(f"kmnist-{file.archive}" for file in FASHION_MNIST_FILES),
        ),
        "cifar10": DatasetInfo(
            name="cifar10",
            title="CIFAR-10",
            licence="none stated by its authors",
            citation="Krizhevsky, A. (2009). Learning Multiple Layers of Features from Tiny Images. University of Toronto.",
            class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            files=(CIFAR10.name,),
        ),
        "folder": DatasetInfo(
            name="folder",
            title="The images of data.folder",
            licence="that of the images",
            citation="Images of the user's own.",
            class_names=(),  # the names of its folders
            files=(OWN_FILE, OWN_REPORT),
        ),
    }
)


def dataset_info(name: str) -> DatasetInfo:
    """The dataset of a name. Raises UserError for an unknown name."""
    if name not in DATASETS:
        raise UserError(f"{name}: unknown dataset; data.dataset is one of {', '.join(DATASETS)}")
    return DATASETS[name]
