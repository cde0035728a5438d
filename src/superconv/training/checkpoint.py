"""`TrainState`: the one owner of everything that a training carries across a restart."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn
from torch.optim import Optimizer

from ..error_lines import kind_and_line_of, line_of
from ..full_memory import is_out_of_memory
from ..records import StopReason
from ..restore.expanded import plain_while_loaded, write
from ..restore.random_states import plain
from ..runs import RunError, atomic_write
from ..schedules import Schedule
from ..task.loss_function import loss_module
from .batch_source import BatchSource
from .distributed import gather_from_ranks, rank, seed_random_states_of_rank
from .param_groups import flat
from .scheduled_groups import ScheduledGroups

FORMAT = 1
_PARTS = {
    "step": int,
    "samples": int,
    "model": Mapping,
    "non_persistent_buffers": Mapping,
    "optimizer": Mapping,
    "source": Mapping,
    "random": Mapping,
}


class DamagedCheckpoint(RunError):
    """A checkpoint that cannot be read, or whose content has changed since it was written."""


class TrainState:
    """Counters, schedule and group scales, batch order, random states, scaler, model and optimizer of one training.

    Parameters that the optimizer holds beside the model's (a head's, a loss's) are among them, and the buffers of a
    loss that is a module. Resuming on the same machine with the same thread count gives the same weights, bit for bit,
    as never stopping. Not saved: buffers of other modules, and of a module that a loss function merely encloses.

    Args:
        batches: the training batches; wrapped in a `BatchSource`, which knows where it stands.
        scaler: a gradient scaler (fp16), or None.
        loss_fn: the loss; `train_steps` tells it where it is not given, so leave it out but in a loop of your own.
    Example: `for record in train_steps(..., state=state): ...; state.save("checkpoint.pt")`, and after a restart
        `state.load("checkpoint.pt")` before the same loop.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: Iterable[Any] | BatchSource,
        *,
        scaler: Any | None = None,
        loss_fn: Any | None = None,
    ) -> None:
        if not isinstance(model, nn.Module) or not isinstance(optimizer, Optimizer):
            got = f"a {type(model).__name__} and a {type(optimizer).__name__}"
            raise TypeError(f"a TrainState is of a torch.nn.Module and a torch.optim.Optimizer, got {got}")
        self.model = model
        self.optimizer = optimizer
        self.source = batches if isinstance(batches, BatchSource) else BatchSource(batches)
        self.scaler = scaler
        self._loss: nn.Module | None = None
        self._loss_buffers: Mapping[str, torch.Tensor] | None = None  # loaded, and not yet met by a loss
        self.meet(loss_fn)
        self.step = 0  # updates done
        self.samples = 0  # samples those updates used
        self.schedule: Schedule | None = None  # that those updates followed
        self.groups: ScheduledGroups | None = None  # through which they followed it
        self._saved_groups: Mapping[str, Any] | None = None  # loaded, and not yet taken over by these
        self.stop: StopReason | None = None

    def meet(self, loss_fn: Any | None) -> None:
        """Know the loss of this training: where it is a module it gets the buffers that were loaded, if any.

        Raises: ValueError: a loss with other buffers than the one that they were saved of.
        """
        module = loss_module(loss_fn)
        if module is not None:
            self._loss = module
        if self._loss is None or self._loss_buffers is None:
            return
        own, saved = self._buffers_of_loss(), self._loss_buffers
        shapes, expected = ({name: tuple(value.shape) for name, value in each.items()} for each in (saved, own))
        if shapes != expected:
            raise ValueError(
                f"this checkpoint belongs to another loss: its buffers had shapes {shapes}, now they have {expected}"
            )
        for name, value in saved.items():
            write(own[name], value)
        self._loss_buffers = None

    def _buffers_of_loss(self) -> dict[str, torch.Tensor]:
        """Without those that are the model's, too."""
        if self._loss is None:
            return {}
        models = {id(buffer) for buffer in self.model.buffers()}
        return {name: buffer for name, buffer in self._loss.named_buffers() if id(buffer) not in models}

    def scales(self) -> Mapping[str, Any] | None:
        """What param groups are scheduled by, as `ScheduledGroups` takes it; None where no update was scheduled yet."""
        return self._saved_groups if self.groups is None else self.groups.state()

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors: loads with `torch.load(weights_only=True)`."""
        kept = self.model.state_dict()
        hidden = {name: value for name, value in self.model.named_buffers() if name not in kept}
        return {
            "format": FORMAT,
            "step": self.step,
            "samples": self.samples,
            "schedule": self.schedule.to_dict() if self.schedule is not None else None,
            "scales": self.scales(),
            "model": kept,
            "non_persistent_buffers": hidden,
            "optimizer": self.optimizer.state_dict(),
            "other_parameters": [parameter.detach() for parameter in self._other_parameters()],
            "loss_buffers": self._buffers_of_loss() if self._loss_buffers is None else self._loss_buffers,
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "source": self.source.state_dict(),
            "random": plain(self.source.random_states()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Where it holds random states and orders of other ranks (`state_dict_of_ranks`) each rank takes its own; a rank
        that did not exist then begins with new random states.

        Raises: ValueError: another format, another model; DamagedCheckpoint, a ValueError: parts that are missing or
            do not fit. What was loaded before the error stays: load another state, or build everything anew.
        """
        saved = state.get("format") if isinstance(state, Mapping) else None
        if saved != FORMAT:
            raise ValueError(
                f"this checkpoint has format {saved!r}, this version reads {FORMAT}; continue with the "
                "version that wrote it, or start anew"
            )
        for name, kind in _PARTS.items():
            if not isinstance(state.get(name), kind):
                raise DamagedCheckpoint(f"this checkpoint is damaged: {name!r} is missing; remove it to start anew")
        if state.get("scaler") is not None and self.scaler is None:
            raise ValueError("this checkpoint has a gradient scaler, this training none; pass scaler= to TrainState")
        try:
            self._restore(state)
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError) as error:
            if is_out_of_memory(error):  # whoever reads that it is damaged may delete it
                raise
            reason = kind_and_line_of(error)[:160]
            raise DamagedCheckpoint(f"this checkpoint is damaged ({reason}); remove it to start anew") from None

    def _restore(self, state: Mapping[str, Any]) -> None:
        try:
            with plain_while_loaded(self.model):
                self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise ValueError(f"this checkpoint belongs to another model: {line_of(error, which=-1)}") from None
        buffers = dict(self.model.named_buffers())
        for name, value in state["non_persistent_buffers"].items():
            write(buffers[name], value)
        self._restore_others(state.get("other_parameters"))
        self._loss_buffers = state.get("loss_buffers") or None  # older checkpoints have none
        self.meet(None)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None and state.get("scaler") is not None:
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.samples = state["step"], state["samples"]
        schedule = state.get("schedule")  # older checkpoints have none
        self.schedule = None if schedule is None else Schedule.from_dict(schedule)
        self.groups, self._saved_groups = None, state.get("scales")  # likewise
        sources = [state["source"], *state.get("source_of_other_ranks", [])]
        self.source.load_state_dict(sources[rank()] if rank() < len(sources) else sources[0])
        of_ranks = [state["random"], *state.get("random_of_other_ranks", [])]
        self.source.set_random_states(of_ranks[rank() % len(of_ranks)])
        if rank() >= len(of_ranks):
            seed_random_states_of_rank(self.step)

    def _other_parameters(self) -> list[torch.Tensor]:
        """What the optimizer trains beside the model, in its order."""
        own = {id(parameter) for parameter in self.model.parameters()}
        return [each for each in flat(self.optimizer.param_groups) if id(each) not in own]

    def _restore_others(self, saved: list[torch.Tensor] | None) -> None:
        if saved is None:  # an older checkpoint has none
            return
        others = self._other_parameters()
        shapes, expected = ([tuple(each.shape) for each in tensors] for tensors in (saved, others))
        if shapes != expected:
            raise ValueError(
                "this checkpoint belongs to another optimizer: the parameters that it trains beside the model's had "
                f"shapes {shapes}, now they have {expected}"
            )
        for parameter, value in zip(others, saved, strict=True):
            write(parameter, value)

    def state_dict_of_ranks(self) -> dict[str, Any]:
        """`state_dict` with what ranks may differ in: random states, and their samplers'.

        All of them must call it; in one process the same.
        """
        state = self.state_dict()
        randoms, sources = zip(*gather_from_ranks((state["random"], state["source"])), strict=True)
        if len(randoms) == 1:
            return state
        return {**state, "random_of_other_ranks": [*randoms[1:]], "source_of_other_ranks": [*sources[1:]]}

    def save(self, path: str | Path) -> None:
        """Write the checkpoint so that `path` holds the old one or the new one, never half of either."""
        atomic_write(Path(path), self.write)

    def write(self, file: BinaryIO) -> None:
        """The checkpoint into an open binary file."""
        torch.save(self.state_dict(), file)

    def load(self, path: str | Path) -> None:
        """Read a checkpoint that `save` wrote; no code from the file is ever run.

        Raises: DamagedCheckpoint, a ValueError: truncated, altered by as little as one bit, or no checkpoint at all;
            ValueError: as `load_state_dict`; FileNotFoundError; OSError: it is there and the system does not give it.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no checkpoint {path}")
        self.load_state_dict(read_checkpoint(Path(path)))


def read_checkpoint(path: Path) -> Any:
    """What the file holds, as `TrainState.state_dict` gave it. No code from the file is ever run.

    torch compares no checksums when it reads; those that it wrote are compared here.

    Raises: DamagedCheckpoint, a ValueError: truncated, altered, or no checkpoint at all; OSError. As they are: an error
        that says that memory is full, and a warning that was made an error, neither of which is the file's fault.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        if altered is not None:
            raise zipfile.BadZipFile(f"the checksum of {altered} does not match")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive or pickle can raise almost anything
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        if is_out_of_memory(error) or isinstance(error, Warning):
            raise
        reason = line_of(error)[:120]
        raise DamagedCheckpoint(f"{path} is not a readable checkpoint ({reason}); remove it to start anew") from None
