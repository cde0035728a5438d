"""Any iterable of batches as an endless, countable, resumable source, and the way a batch enters a model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ..data.moving import moves_itself
from ..restore.loader_order import LoaderOrder, generators_of
from ..restore.loaders_within import has_persistent_workers, stateful_loaders
from ..restore.preserve import preserved
from ..restore.random_states import get_random_states, plain, set_random_states

Split = Callable[[Any], tuple[Any, Any]]


_ENDED = object()


class BatchesExhausted(Exception):
    """The iterator of batches ran dry; the loop turns it into `StopReason.batches_exhausted`."""


class BatchSource:
    """Draws batches one by one from `batches`, starting a new epoch whenever one ends.

    A re-iterable (a list, a DataLoader, `superconv.data.Batches`) is restarted when it ends; a one-shot iterator is
    warned about and ends the training when it runs dry. At the start of every epoch its number is told to all samplers,
    data sets and loaders with a `set_epoch` (torch's DistributedSampler, Hugging Face's streamed data): counted on from
    the number that they had, the same after a resume. What holds for a loader holds for one in a wrapper as well
    (`tqdm(loader)`, a class that moves or combines batches: `loaders_within`).

    Resuming draws the batches that an uninterrupted run would have drawn: from the state of `batches` where it has
    `state_dict`, else by restoring the random states of the epoch's start and passing over what was drawn. The latter
    is exact where the order is settled when an epoch begins, from torch's, numpy's or Python's global states, the
    number of the epoch, what a DataLoader's samplers hold, or generators of the data set's own (`LoaderOrder`; a
    warning where samplers keep an iterator, or the data set's generator has copies in persistent workers, which cannot
    be restored), and where worker processes draw. It is not where an iterator in this process settles its order on the
    way from a global state that the training draws from as well (an IterableDataset with a shuffle buffer,
    num_workers=0, beside dropout): what is passed over then comes without the training's draws in between. Give such
    a data set a generator of its own, seeded when the epoch begins, or a `state_dict`.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches
        self.epoch = 0
        self.drawn_in_epoch = 0
        self._iterator: Iterator[Any] | None = None
        self._epoch_start: dict[str, Any] | None = None
        self._order = LoaderOrder(batches)
        self._first_epoch = self._order.epoch()  # a caller with a loop over epochs of its own may have set it
        self._own_state = hasattr(batches, "state_dict") and hasattr(batches, "load_state_dict")
        self.one_shot = hasattr(batches, "__next__")
        if self.one_shot:
            warnings.warn(
                "batches is an iterator, which cannot be restarted: training stops where it runs dry. Pass a "
                "re-iterable (a list or a DataLoader) to train over several epochs",
                stacklevel=4,
            )
        elif not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
            raise ValueError(f"batches must be an iterable of batches, got {type(batches).__name__}")

    def draw(self) -> Any:
        """The next batch. Raises: BatchesExhausted; ValueError where an epoch has no batch at all."""
        for _ in range(2):  # the rest of this epoch, else a new one
            if self._iterator is None:
                self._begin()
            batch = next(self._iterator, _ENDED)  # type: ignore[arg-type]
            if batch is not _ENDED:
                self.drawn_in_epoch += 1
                return batch
            if self.one_shot:
                raise BatchesExhausted
            self.epoch += 1
            self.drawn_in_epoch = 0
            self._iterator = None
        raise ValueError(
            "batches yielded nothing: it is empty, or its batch size is larger than its data with "
            "drop_last=True. Pass at least one batch"
        )

    def _begin(self) -> None:
        self._order.set_epoch(self._first_epoch + self.epoch)
        if not self._own_state:
            within = {path: copy.deepcopy(each.state_dict()) for path, each in stateful_loaders(self.batches).items()}
            self._epoch_start = {**self.random_states(), "within": within}
        self._iterator = iter(self.batches)

    def fork(self) -> BatchSource:
        """A source that draws on without moving this one: from here where `batches` has state, else a new epoch.

        A one-shot iterator, or a DataLoader with persistent workers, can only be shared: there both move.
        """
        if self.one_shot or has_persistent_workers(self.batches):
            return self  # a second iterator would take this one's place
        twin = copy.copy(self)
        if self._own_state:
            twin.batches = copy.copy(self.batches)
            twin.batches.load_state_dict(self.batches.state_dict())  # type: ignore[attr-defined]
        twin._iterator = None
        twin.drawn_in_epoch = 0
        return twin

    def sample(self, count: int) -> list[Any]:
        """`count` batches beside the training order, which stays as it is; random states too.

        Raises: ValueError: an iterator or a DataLoader with persistent workers, which have only one order to give.
        """
        within = () if self._own_state else stateful_loaders(self.batches).values()  # else the fork has a copy
        with preserved(LoaderOrder(self.batches), *within):
            twin = self.fork()
            if twin is self:
                raise ValueError(
                    "batches beside the training order are needed (to re-estimate BatchNorm's statistics, say), which "
                    "an iterator or a DataLoader with persistent workers cannot give; pass a plain re-iterable"
                )
            return [twin.draw() for _ in range(count)]

    def state_dict(self) -> dict[str, Any]:
        """Plain data: where the source stands."""
        self._order.warn_of_unreachable()
        state: dict[str, Any] = {"epoch": self.epoch, "drawn_in_epoch": self.drawn_in_epoch}
        state["first_epoch"] = self._first_epoch
        if self._own_state:
            state["batches"] = self.batches.state_dict()  # type: ignore[attr-defined]
        else:
            state["epoch_start"] = self._epoch_start and plain(self._epoch_start)
        return state

    def random_states(self) -> dict[str, Any]:
        """All random states, and those of the loader's generators and samplers."""
        return {**get_random_states(generators_of(self.batches)), "order": self._order.get_state()}

    def set_random_states(self, states: Mapping[str, Any]) -> None:
        """Write back what `random_states` gave, or the `plain` form of it."""
        generators, saved = generators_of(self.batches), states["generators"]
        if len(generators) != len(saved):
            raise ValueError(
                f"this state was taken from batches with {len(saved)} generator(s) of torch where a DataLoader has "
                f"them, these have {len(generators)}; resume with the same kind of data loader, wrapped or not as then"
            )
        set_random_states(states, generators)
        if "order" in states:  # older checkpoints have none
            self._order.set_state(states["order"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken. Call it before the global random states are restored: it moves them."""
        self.epoch, self._iterator = state["epoch"], None
        self._first_epoch = state.get("first_epoch", 0)  # older states have none
        self.drawn_in_epoch = 0
        if ("batches" in state) != self._own_state:
            raise ValueError(
                "this state was taken from another kind of batches (with and without state_dict); resume with the "
                "same kind of data loader"
            )
        if self._own_state:
            self.batches.load_state_dict(state["batches"])  # type: ignore[attr-defined]
            self.drawn_in_epoch = state["drawn_in_epoch"]
            if self.drawn_in_epoch and getattr(self.batches, "position", None) == 0:
                # taken behind an epoch's last batch: `Batches` stands in the next, an exhausted iterator did not travel
                self.epoch, self.drawn_in_epoch = self.epoch + 1, 0
            return
        if self.one_shot or state["epoch_start"] is None:
            return
        self.set_random_states(state["epoch_start"])
        for path, each in stateful_loaders(self.batches).items():
            if path in state["epoch_start"].get("within", {}):  # older states have none
                each.load_state_dict(state["epoch_start"]["within"][path])
        for _ in range(state["drawn_in_epoch"]):
            self.draw()


def pair(batch: Any) -> tuple[Any, Any]:
    """The default `split`: a batch that is a pair (inputs, targets)."""
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, Mapping):
        got = f"a mapping with keys {sorted(map(str, batch))}"
    else:
        got = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, Sequence) else "")
    raise ValueError(f"a batch must be a pair (inputs, targets), got {got}; pass split=lambda batch: (inputs, targets)")


def call_model(model: nn.Module, inputs: Any) -> Any:
    """A tensor goes in as model(x), a tuple or list as model(*x), a mapping as model(**x).

    A tuple that `moves_itself` is one value: a PackedSequence goes in as model(x).
    """
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)) and not moves_itself(inputs):
        return model(*inputs)
    return model(inputs)


def sample_count(targets: Any, inputs: Any = None) -> int:
    """How many samples a batch holds: the first dimension of its targets, else of its inputs."""
    for value in (targets, inputs):
        if isinstance(value, torch.Tensor):
            return int(value.shape[0]) if value.ndim else 1
        if isinstance(value, PackedSequence):
            return int(value.batch_sizes[0])
        if isinstance(value, Mapping) and value:
            first = _first_of_samples(value.values())
            return sample_count(next(iter(value.values())) if first is None else first)
        if isinstance(value, (tuple, list)) and value and not moves_itself(value):
            first = _first_of_samples(value)  # of (share, labels, other labels), say, the labels
            return len(value) if first is None else sample_count(first)
    raise ValueError(
        f"cannot count the samples of a batch whose targets are {type(targets).__name__}; pass split so that the "
        "targets are a tensor, or a non-empty mapping or sequence of tensors"
    )


def _first_of_samples(values: Iterable[Any]) -> torch.Tensor | PackedSequence | None:
    """The first that has a value a sample; None: none has."""
    for value in values:
        if isinstance(value, PackedSequence) or (isinstance(value, torch.Tensor) and value.ndim):
            return value
    return None


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter or buffer, else the CPU.

    Raises: TypeError: no module. It is asked first wherever a model comes in.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got a {type(model).__name__}")
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")
