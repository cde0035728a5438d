"""load: from the name of a data set to its splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..near_names import near
from .archive import read_members
from .catalog import FOLDER, NAMES, Source, source_named
from .cifar import decode_binary, decode_python
from .embedded import mnist5k
from .errors import DataError
from .folder_loading import FolderOptions, load_folder
from .idx import read_bytes, read_idx
from .location import Place, data_folder, existing_file, locate, where
from .preparation import Preparation
from .samples import Data
from .shuffling import choose
from .splits import Splits

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]

_CARVING_SEED = 0
_MNIST5K_TEST, _MNIST5K_VALIDATION = 1000, 500
# The first ten labels tell MNIST and Fashion-MNIST apart, whose files have the same names and sizes.
_FIRST_LABELS = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    "fashion-mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
}


def load(name: str, data_dir: str | Path | None = None, **options: Any) -> Splits:
    """A data set by name, its pixels uint8 and checked against what its publishers describe.

    The published test images are `test`; `validation` is None (`Splits.with_validation` carves it) but for mnist5k.

    Args:
        name: one of `NAMES`, or "folder:PATH": one sub-folder per class, or train, validation (val), test with those.
        data_dir: data folder; None: $SUPERCONV_DATA, else ~/.cache/superconv. Layouts of the publishers and of
            torchvision are found in it. Not beside "folder:PATH", which says it all.
        options: `FolderOptions`, of "folder:PATH", "imagenet" and "imagenette" alone: image_size, corrupt, streaming,
            crop_scale, crop_ratio, resize, workers.
    Raises: DataError: an unknown name or option, missing or damaged files; DataNotFoundError names the command that
        downloads them.
    """
    if not isinstance(name, str):
        raise DataError(f"a data set is named by a string, got {name!r}; pass tensors to superconv.Splits instead")
    if name.startswith(FOLDER):
        folder = name.removeprefix(FOLDER)
        if not folder.strip():
            raise DataError(f"{name!r} names no folder; give folder:PATH with one sub-folder per class")
        if data_dir is not None:
            raise DataError(f"data_dir={str(data_dir)!r}: {name} says itself where its pictures lie; leave it out")
        path = Path(folder)  # "px/" and "./px" are "px": of a task the name says which runs are found again
        return load_folder(path.expanduser(), f"{FOLDER}{path}", _folder_options(options))
    source = source_named(name)
    if source.is_folder:
        return _load_pictures(source, data_dir, _folder_options({"image_size": source.image_shape[1], **options}))
    if options:
        raise DataError(f"{name} takes no options, got {', '.join(options)}; they are for folders of pictures")
    if source is NAMES["mnist5k"]:
        return _load_mnist5k(source, data_dir)
    place = locate(source, data_dir)
    train, test = _read(source, place)
    return _splits(source, {"train": train, "test": test}, note="")


def _splits(source: Source, parts: dict[str, Arrays], note: str) -> Splits:
    data: dict[str, Any] = {"validation": None}
    for part, (images, labels) in parts.items():
        data[part] = Data(torch.from_numpy(images), torch.from_numpy(labels), name=f"{source.name}/{part}")
    preparation = Preparation.per_channel(source.mean, source.std, mirror=source.mirror)
    return Splits(num_classes=source.num_classes, name=source.name, note=note, preparation=preparation, **data)


def _remedy(place: Place) -> str:
    return f"delete that file and run {place.fetch_command}"


def _read(source: Source, place: Place) -> tuple[Arrays, Arrays]:
    """Training and test arrays of a published data set."""
    reader = _read_idx if place.layout.format == "idx" else _read_cifar
    train = reader(source, place, place.layout.train)
    test = reader(source, place, place.layout.test)
    remedy = f"delete the files of {source.name} there and run {place.fetch_command}"
    for (images, labels), expected in ((train, source.train_count), (test, source.test_count)):
        if len(images) != expected:
            raise DataError(
                f"{source.name}: {len(images):,} images under {place.path}, published are {expected:,}; {remedy}"
            )
        high = int(labels.max(initial=0))
        if high >= source.num_classes:
            raise DataError(
                f"{source.name}: label {high} under {place.path} is out of range [0, {source.num_classes}); {remedy}"
            )
    _refuse_namesake(source, place.path, train[1])
    return train, test


def _read_idx(source: Source, place: Place, filenames: Sequence[str]) -> Arrays:
    paths = [cast(Path, existing_file(place.path, filename)) for filename in filenames]
    remedy = _remedy(place)
    images, labels = (read_idx(path, dims, remedy) for path, dims in zip(paths, (3, 1), strict=True))
    if len(images) != len(labels):
        raise DataError(
            f"{source.name}: {paths[0]} holds {len(images):,} images, {paths[1].name} {len(labels):,} labels; {remedy}"
        )
    if images.shape[1:] != source.image_shape[1:]:
        raise DataError(
            f"{source.name}: {paths[0]} holds images of {images.shape[1:]}, not of 28 x 28 pixels; {remedy}"
        )
    return images[:, None].copy(), labels.astype(np.int64)  # a copy, since torch wants memory that may be written


def _read_cifar(source: Source, place: Place, filenames: Sequence[str]) -> Arrays:
    remedy = _remedy(place)
    if place.is_archive:
        contents = read_members(place.path, filenames, remedy)
    else:
        contents = {f: read_bytes(cast(Path, existing_file(place.path, f)), remedy) for f in filenames}
    decoded = []
    for filename in filenames:
        what = str(place.path / filename)
        if place.layout.format == "cifar-python":
            decoded.append(decode_python(contents[filename], what, remedy))
        else:
            decoded.append(decode_binary(contents[filename], 2 if source.num_classes == 100 else 1, what, remedy))
    return np.concatenate([images for images, _ in decoded]), np.concatenate([labels for _, labels in decoded])


def _refuse_namesake(source: Source, path: Path, labels: NDArray[np.int64]) -> None:
    """Raise where the files of MNIST lie in the place of Fashion-MNIST's, or the other way round."""
    for name, first in _FIRST_LABELS.items():
        if name != source.name and source.name in _FIRST_LABELS and tuple(labels[: len(first)]) == first:
            raise DataError(f"{path} holds {name}, not {source.name}; load {name}, or choose another folder")


def _load_mnist5k(source: Source, data_dir: str | Path | None) -> Splits:
    """Fixed training and validation images; MNIST's own test images where they are at hand.

    Train and validation are the same with and without the full MNIST, so that what was tuned on one machine holds on
    another; only the accuracy on the larger test part is known more closely.
    """
    images, labels = mnist5k(data_folder(data_dir))
    held_out = choose(_MNIST5K_TEST + _MNIST5K_VALIDATION, len(labels), labels, _CARVING_SEED)
    inner = choose(_MNIST5K_VALIDATION, len(held_out), labels[held_out], _CARVING_SEED)
    chosen = {
        "train": np.setdiff1d(np.arange(len(labels)), held_out),
        "validation": held_out[inner],
        "test": np.delete(held_out, inner),
    }
    parts = {part: (images[indices], labels[indices]) for part, indices in chosen.items()}
    sizes = ", ".join(f"{len(indices):,} {part}" for part, indices in chosen.items())
    note = f"5,000 images of MNIST's training split, divided by seed {_CARVING_SEED}: {sizes}"
    if where("mnist", data_dir) is not None:
        full = NAMES["mnist"]
        parts["test"] = _read(full, locate(full, data_dir))[1]
        note += f"; test is MNIST's own {full.test_count:,} test images instead"
    return _splits(source, parts, note)


def _folder_options(options: dict[str, Any]) -> FolderOptions:
    allowed = [field.name for field in fields(FolderOptions)]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise DataError(f"a folder of pictures has no option {', '.join(unknown)}; {near(unknown[0], allowed)}")
    return FolderOptions(**options)


def _load_pictures(source: Source, data_dir: str | Path | None, options: FolderOptions) -> Splits:
    """A published data set that lies as a folder per class."""
    place = locate(source, data_dir)
    preparation = Preparation.per_channel(source.mean, source.std, mirror=source.mirror)
    splits = load_folder(place.path, source.name, options, preparation)
    if splits.num_classes != source.num_classes:
        raise DataError(
            f"{source.name}: {place.path} holds {splits.num_classes} classes, published are {source.num_classes:,}; "
            f"complete it, or load it as folder:{place.path}"
        )
    return splits
