"""Batches: a seeded, rank-aware order of batches that resumes at any step, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ..error_lines import line_of
from .errors import DataError
from .moving import move
from .preparation import Draws, Preparation
from .read_ahead import Place, ReadAhead, Reading
from .samples import Data, Samples, as_samples
from .shuffling import key, permutation

_ORDER, _AUGMENTATION, _PARTS = 1, 2, 3  # what a hash of (seed, epoch, ...) is used for
_LEAST_AHEAD = 2  # batches
_ORDERS_KEPT = 2  # of the present epoch and of the next, whose first batches are read ahead


class Batches:
    """Batches of prepared samples, epoch after epoch.

    The order of epoch e is a pure function of (seed, e). One global batch takes `batch_size * world_size`
    consecutive samples of it and the ranks share them, so every sample is drawn once an epoch (but for those that
    `drop_last` leaves out), whatever the number of ranks. The random numbers of the augmentation are a pure function
    of (seed, epoch, place of the global batch in the order); so two ranks at batch 64 see, together, the very pixels
    that one rank at batch 128 sees.

    The position belongs to this object, not to an iterator: it counts the batches **drawn**, and an iteration gives
    the rest of the current epoch. Leave a loop early and the next one goes on behind the last batch drawn; call
    `restart()` to begin the epoch again. With the last batch of an epoch the next epoch begins. Only with
    `whole_passes` (as `for_evaluation` sets it) is every iteration a whole pass by itself, and the position stays 0.

    Samples that say so (`StreamedPictures`) are read ahead, over the end of an epoch too. Which part of a picture is
    seen comes from (seed, epoch, place) like all augmentation, so neither order nor pixels depend on how far.

    Args:
        data: `Data`, a pair (inputs, targets) of tensors, or a map-style torch Dataset.
        batch_size: samples a batch, per rank.
        seed: integer from 0 on.
        shuffle: False keeps the stored order.
        drop_last: leave out a last batch that would be smaller. Without it, what remains is shared among the ranks as
            evenly as it goes; a rank whose share is empty yields one batch fewer.
        augment: whether the preparation's mirror and crops are applied.
        preparation: None: uint8 inputs are scaled to [0, 1], all others are passed as they are.
        device: where batches are wanted; data held in tensors are moved there once, as a whole. None: where they are.
        channels_last: lay pictures out with the channels last.
        rank, world_size: of this process, among how many.
        whole_passes: every iteration starts at the beginning of the epoch.
    Yields: (inputs, targets); what a Dataset collates to where that is no pair.
    Raises: DataError: empty data, an impossible argument, or so large a batch that nothing would be yielded.
    Example:
        >>> batches = Batches((torch.zeros(10, 1, 28, 28), torch.zeros(10)), 4)
        >>> [len(targets) for _, targets in batches], batches.state_dict()["epoch"]
        ([4, 4], 1)
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        augment: bool = True,
        preparation: Preparation | None = None,
        device: torch.device | str | None = None,
        channels_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        whole_passes: bool = False,
    ) -> None:
        samples = as_samples(data, "data")
        _check(samples, batch_size, seed, drop_last, rank, world_size)
        if preparation is not None and not isinstance(preparation, Preparation):
            raise DataError(f"preparation must be a Preparation or None, got {preparation!r}")
        if device is None and isinstance(samples, Data):
            device = samples.inputs.device
        self.device = None if device is None else _usable(device)
        self.data: Samples = samples if self.device is None else samples.to(self.device)
        self.preparation = preparation
        self.batch_size, self.seed = int(batch_size), int(seed)
        self.shuffle, self.drop_last, self.augment = shuffle, drop_last, augment
        self.channels_last, self.whole_passes = channels_last, whole_passes
        self.rank, self.world_size = rank, world_size
        self._epoch = self._position = self._samples_drawn = 0
        self._orders: dict[tuple[int, int], Tensor] = {}  # of (seed, epoch)
        self._ahead = ReadAhead()
        self._placed: dict[torch.device, Preparation] = {}

    @classmethod
    def for_evaluation(cls, data: Any, *, batch_size: int = 500, **options: Any) -> Batches:
        """All samples in the stored order, not augmented, the last batch as small as it is; each time a whole pass.

        Args:
            data: as in the class.
            batch_size: samples a batch, per rank.
            options: `preparation`, `device`, `channels_last`, `rank`, `world_size` as in the class.
        """
        fixed: dict[str, Any] = {"shuffle": False, "drop_last": False, "augment": False, "whole_passes": True}
        return cls(data, batch_size, **fixed, **options)

    @property
    def epoch(self) -> int:
        """The epoch whose batches come next."""
        return self._epoch

    @property
    def position(self) -> int:
        """Batches of that epoch that have been drawn."""
        return self._position

    def __len__(self) -> int:
        """Batches that this rank yields in a whole epoch."""
        full, remaining = divmod(len(self.data), self._global_batch)
        if self.drop_last or not remaining:
            return full
        start, stop = self._share(remaining)
        return full + (stop > start)

    def __iter__(self) -> Iterator[Any]:
        return self._whole_pass() if self.whole_passes else self._rest_of_epoch()

    def restart(self, epoch: int | None = None) -> None:
        """Begin the current epoch again, or go to the beginning of `epoch`.

        Raises: DataError: a negative epoch.
        """
        if epoch is not None and epoch < 0:
            raise DataError(f"epoch {epoch} is negative; epochs count from 0")
        self._epoch = self._epoch if epoch is None else int(epoch)
        self._position = self._samples_drawn = 0

    def state_dict(self) -> dict[str, int]:
        """Where the order stands, the same on every rank, in plain integers.

        `position` counts the batches drawn in `epoch`; `samples_drawn`, over all ranks, is what a resumption with
        another world size or batch size goes on from.
        """
        return {
            "epoch": self._epoch,
            "position": self._position,
            "samples_drawn": self._samples_drawn,
            "seed": self.seed,
            "samples": len(self.data),
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where `state_dict` was taken, with the seed that it holds.

        With the same batch and world size every batch to come is bit for bit what it would have been. With others
        the order of the samples is kept, from the first one not yet drawn.

        Raises: DataError: keys that are missing, impossible values, or a state of data of another length.
        """
        expected = self.state_dict()
        if set(state) != set(expected) or any(int(value) < 0 for value in state.values()):
            raise DataError(
                f"state of batches {dict(state)} needs non-negative {', '.join(expected)}; load one as saved"
            )
        if state["samples"] != len(self.data) or state["samples_drawn"] > len(self.data):
            raise DataError(
                f"the state was saved with {state['samples']:,} samples, this data has {len(self.data):,}; "
                "resume with the same data, or start a new run"
            )
        self._epoch, self._position = int(state["epoch"]), int(state["position"])
        self._samples_drawn, self.seed = int(state["samples_drawn"]), int(state["seed"])
        self._ahead = ReadAhead()  # its own: a copy that goes elsewhere leaves the original's alone
        self._end_epoch_if_done()

    @property
    def _global_batch(self) -> int:
        return self.batch_size * self.world_size

    def _share(self, count: int) -> tuple[int, int]:
        """This rank's part of `count` consecutive samples."""
        return self.rank * count // self.world_size, (self.rank + 1) * count // self.world_size

    def _rest_of_epoch(self) -> Iterator[Any]:
        epoch = self._epoch
        try:
            while self._epoch == epoch:
                place = (epoch, self._samples_drawn, self._count_from(self._samples_drawn))
                self._position += 1
                self._samples_drawn += place[2]
                self._end_epoch_if_done()
                batch = self._draw(place, self._places_from(self._epoch, self._samples_drawn))
                if batch is not None:
                    yield batch
        except BaseException:  # left before the end of the epoch, or a batch that cannot be read
            self._ahead.clear()
            raise

    def _whole_pass(self) -> Iterator[Any]:
        places = list(self._places_of_epoch(self._epoch, 0))
        ahead = ReadAhead()
        try:
            for number, place in enumerate(places):
                batch = self._draw(place, islice(places, number + 1, None), ahead)
                if batch is not None:
                    yield batch
        finally:
            ahead.clear()

    def _count_from(self, first: int) -> int:
        """Samples of the global batch that begins at `first`."""
        return min(self._global_batch, len(self.data) - first)

    def _places_of_epoch(self, epoch: int, first: int) -> Iterator[Place]:
        needed = self._global_batch if self.drop_last else 1
        for start in range(first, len(self.data) - needed + 1, self._global_batch):
            yield epoch, start, self._count_from(start)

    def _places_from(self, epoch: int, first: int) -> Iterator[Place]:
        """The global batches from one on, over the ends of epochs."""
        while True:
            yield from self._places_of_epoch(epoch, first)
            epoch, first = epoch + 1, 0

    def _end_epoch_if_done(self) -> None:
        needed = self._global_batch if self.drop_last else 1
        if len(self.data) - self._samples_drawn < needed:
            self.restart(self._epoch + 1)

    def _draw(self, place: Place, later: Iterable[Place], ahead: ReadAhead | None = None) -> Any:
        """This rank's share of a global batch: of samples `first` to `first + count` of an epoch's order."""
        if self._share_is_empty(place):
            return None
        if self.data.read_ahead:
            depth = max(_LEAST_AHEAD, -(-self.data.read_ahead // self.batch_size))
            own = (each for each in later if not self._share_is_empty(each))
            batch = (ahead or self._ahead).take(place, islice(own, depth), self._begin).wait()
        else:
            batch = self.data.batch(self._indices(place))
        batch = batch if self.device is None else move(batch, self.device)
        if not (isinstance(batch, tuple) and len(batch) == 2 and isinstance(batch[0], Tensor)):
            if self.preparation is not None:
                raise DataError(f"{self.data.name}: a preparation needs pairs (inputs, targets) with tensor inputs")
            return batch
        inputs, targets = batch
        if inputs.shape[:1] == (0,):  # an evaluation's, of which every picture was left out
            return None
        return self._prepared(inputs, self._draws(*place)), targets

    def _share_is_empty(self, place: Place) -> bool:
        start, stop = self._share(place[2])
        return start == stop

    def _indices(self, place: Place) -> Tensor:
        """The numbers of this rank's samples."""
        epoch, first, count = place
        start, stop = self._share(count)
        return self._order_of(epoch)[first + start : first + stop]

    def _begin(self, place: Place) -> Reading:
        """Begin to read this rank's share of a global batch."""
        epoch, first, count = place
        parts = None
        if self.augment:
            generator = torch.Generator().manual_seed(key(_PARTS, self.seed, epoch, first))
            parts = self.data.draw_parts(count, generator)
        own = None if parts is None else parts[slice(*self._share(count))]
        return self.data.begin(self._indices(place), own, keep_full=not self.whole_passes)

    def _draws(self, epoch: int, first: int, count: int) -> Draws | None:
        """This rank's part of the global batch's random numbers, or None where nothing is augmented."""
        if not self.augment or self.preparation is None or not self.preparation.augments:
            return None
        generator = torch.Generator().manual_seed(key(_AUGMENTATION, self.seed, epoch, first))
        return self.preparation.draw(count, generator).part(*self._share(count))

    def _prepared(self, inputs: Tensor, draws: Draws | None) -> Tensor:
        if self.preparation is None:
            inputs = inputs.to(torch.float32).div_(255) if inputs.dtype == torch.uint8 else inputs
        else:
            if inputs.device not in self._placed:
                self._placed[inputs.device] = self.preparation.to(inputs.device)
            inputs = self._placed[inputs.device].apply(inputs, draws)
        if inputs.ndim != 4:
            return inputs
        return inputs.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)

    def _order_of(self, epoch: int) -> Tensor:
        """The order of an epoch, (N,) int64, on the device of the data."""
        wanted = (self.seed, epoch if self.shuffle else 0)
        if wanted not in self._orders:
            count = len(self.data)
            order = torch.arange(count, device="cpu")
            if self.shuffle:
                order = torch.from_numpy(permutation(count, _ORDER, *wanted))
            self._orders = dict(list(self._orders.items())[1 - _ORDERS_KEPT :])
            self._orders[wanted] = order.to(self.data.inputs.device) if isinstance(self.data, Data) else order
        return self._orders[wanted]


def _usable(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch says it in all of these
        reason = line_of(error).partition(". ")[0]  # what follows are torch's insides
        raise DataError(f"device {device!r} cannot be used here: {reason}") from None
    return found


def _check(samples: Samples, batch_size: int, seed: int, drop_last: bool, rank: int, world_size: int) -> None:
    if len(samples) == 0:
        raise DataError(f"{samples.name} is empty; pass at least one sample")
    if batch_size < 1 or batch_size % 1 != 0:
        raise DataError(f"batch_size {batch_size}; give a whole number from 1 to {len(samples)}")
    if seed < 0 or seed % 1 != 0:
        raise DataError(f"seed {seed}; give an integer from 0 on")
    if not 0 <= rank < world_size:
        raise DataError(f"rank {rank} of world_size {world_size}; allowed are ranks 0 to {max(world_size - 1, 0)}")
    if drop_last and batch_size * world_size > len(samples):
        ranks = f" on each of {world_size} ranks" if world_size > 1 else ""
        raise DataError(
            f"batch_size {batch_size}{ranks} is more than the {len(samples)} samples of {samples.name}: not one batch "
            f"is full; use at most {len(samples) // world_size} (in Python also: drop_last=False)"
        )
