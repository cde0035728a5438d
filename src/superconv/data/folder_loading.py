"""From a folder per class to splits: held in memory where it is small, decoded as it is drawn where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .decoded import decode_all
from .decoding import CORRUPT, Corrupt, View, decoding_threads
from .errors import DataError
from .folder import Listing, list_folder
from .picture import require_pillow
from .preparation import Preparation
from .random_crop import RandomCrop
from .samples import Data
from .shuffling import choose
from .splits import Splits
from .streamed import StreamedPictures

MEMORY_BYTES = 4e9  # decoded pictures up to this size are held in memory; the same rule on every machine

_TEST_FRACTION = 0.2  # carved from a folder that has no test pictures
_CARVING_SEED = 0
_RESIZE = 256 / 224  # of the shorter side over the square that is cut out, in evaluation


@dataclass(frozen=True)
class FolderOptions:
    """What can be chosen about a folder of pictures.

    Args:
        image_size: side in pixels of the squares that a network sees.
        corrupt: what to do about pictures that cannot be decoded: "refuse" or "skip".
        streaming: decode pictures when they are drawn (True) or once, into memory (False). None: in memory where all
            of them take at most 4 GB there and nothing is asked that needs the files, so that the same command trains
            alike on every machine.
        crop_scale, crop_ratio: of the random-resized crops (`RandomCrop`), (smallest, largest). Of streamed pictures.
        resize: in evaluation the shorter side is scaled to this, then the middle is cut out; None: 256/224 of
            `image_size`. Of streamed pictures: those in memory are the whole middle square.
        workers: decoding threads, of streamed pictures and while a folder is read into memory; None: one a core.
    Raises: DataError: a value out of range, or a view that would be ignored.
    """

    image_size: int = 64
    corrupt: Corrupt = "refuse"
    streaming: bool | None = None
    crop_scale: Sequence[float] | None = None
    crop_ratio: Sequence[float] | None = None
    resize: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.image_size < 1 or self.image_size % 1 != 0:
            raise DataError(f"image_size {self.image_size}; give the side of the pictures in pixels, from 1 on")
        if self.corrupt not in CORRUPT:
            raise DataError(f"corrupt={self.corrupt!r}; allowed are 'refuse' and 'skip'")
        decoding_threads(self.workers)  # refuses none
        if self.streaming is False and self._of_files:
            raise DataError(
                f"{', '.join(self._of_files)}: of streamed pictures alone; leave it out, or leave out streaming=False"
            )

    @property
    def _of_files(self) -> list[str]:
        return [name for name in ("crop_scale", "crop_ratio", "resize") if getattr(self, name) is not None]

    def streams(self, pictures: int) -> bool:
        """Whether so many pictures are decoded as they are drawn."""
        if self.streaming is not None:
            return self.streaming
        return bool(self._of_files) or 3 * self.image_size**2 * pictures > MEMORY_BYTES

    def view(self) -> View:
        """How streamed pictures become squares."""
        given = {"scale": self.crop_scale, "ratio": self.crop_ratio}
        crop = RandomCrop(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        return View(self.image_size, round(self.image_size * _RESIZE) if self.resize is None else self.resize, crop)


def load_folder(root: Path, name: str, options: FolderOptions, preparation: Preparation | None = None) -> Splits:
    """The splits of a folder of pictures.

    The folder's test pictures are `test`; without them its validation pictures are; without either a fifth of the
    training pictures, by a fixed seed.

    Args:
        root: see `list_folder`.
        name: of the data set.
        options: see there.
        preparation: None: mirroring, and normalisation with the mean and deviation of the training pixels per channel
            (of streamed pictures: of 2,000 of them, by a fixed seed).
    Raises: DataError: a folder without pictures or classes, or with corrupt ones.
    """
    require_pillow()
    listed, classes = list_folder(root)
    notes = [f"{len(classes)} classes, {options.image_size} x {options.image_size} pixels"]
    if options.streams(sum(map(len, listed.values()))):
        parts = {part: _streamed(listing, f"{name}/{part}", options) for part, listing in listed.items()}
        notes.append("decoded as they are drawn, training on random-resized crops")
    else:
        parts, skipped = _held(listed, name, options)
        if skipped:
            notes.append(f"{len(skipped)} corrupt pictures were skipped: {', '.join(map(str, skipped[:5]))}")
    train, validation, test = parts["train"], parts.get("validation"), parts.get("test")
    if test is None and validation is not None:
        test, validation = validation, None
        notes.append("test is the folder's validation pictures, since it has no test pictures")
    elif test is None:
        count = round(_TEST_FRACTION * len(train))
        indices = choose(count, len(train), train.class_labels(), _CARVING_SEED)
        test = train.take(indices, f"{name}/test")
        train = train.take(np.setdiff1d(np.arange(len(train)), indices))
        notes.append(f"test: {count:,} pictures carved by seed {_CARVING_SEED}")
    return Splits(train, validation, test, len(classes), name, "; ".join(notes), preparation or _measured(train))


def _streamed(listing: Listing, name: str, options: FolderOptions) -> StreamedPictures | Data:
    return StreamedPictures(
        listing.root,
        listing.names,
        listing.labels,
        listing.sizes,
        options.view(),
        corrupt=options.corrupt,
        workers=options.workers,
        name=name,
    )


def _held(
    listed: dict[str, Listing], name: str, options: FolderOptions
) -> tuple[dict[str, StreamedPictures | Data], list[Path]]:
    """The parts, decoded into memory, and the files that could not be."""
    parts: dict[str, StreamedPictures | Data] = {}
    skipped: list[Path] = []
    for part, listing in listed.items():
        decoded = decode_all(listing, options.image_size, options.corrupt, options.workers)
        parts[part] = Data(torch.from_numpy(decoded.images), torch.from_numpy(decoded.labels), name=f"{name}/{part}")
        skipped += decoded.skipped
    return parts, skipped


def _measured(train: StreamedPictures | Data) -> Preparation:
    """Normalisation with the mean and standard deviation of the training pixels, and mirroring."""
    counts = torch.zeros(3, 256, dtype=torch.float64, device="cpu")
    for images in [train.inputs] if isinstance(train, Data) else train.some():
        for channel, pixels in enumerate(images.transpose(0, 1).flatten(1)):
            counts[channel] += torch.bincount(pixels.int(), minlength=256)
    values = torch.arange(256, dtype=torch.float64, device="cpu") / 255
    share = counts / counts.sum(1, keepdim=True)
    mean = (share * values).sum(1)
    std = ((share * values**2).sum(1) - mean**2).clamp_min(0).sqrt().clamp_min(1 / 255)
    return Preparation.per_channel(mean.tolist(), std.tolist(), mirror=True)
