"""ScheduleLR: a torch LR scheduler that follows a schedule by counting optimizer updates."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..restore.step_hooks import off_while_preserved
from ..schedules import Schedule, checks
from ..schedules.curve import Stretched
from .inner_optimizer import counted_optimizer, torch_optimizer
from .scheduled_groups import ScheduledGroups
from .step_nesting import StepNesting
from .unclear_scales import warn_of_unclear_scales
from .uncounted_updates import UncountedUpdates

__all__ = ["ScheduleLR", "ScheduledGroups", "resumed_schedule"]

FORMAT = 1


class ScheduleLR(LRScheduler):
    """A torch LR scheduler that follows a `Schedule`; the constructor applies step 0, or `start_step`.

    It counts optimizer updates through the optimizer's step hooks, and `step()` writes the values of the update
    that comes next. An update that AMP skipped does not count (nor does one that a `fused` optimizer skipped by
    itself, which costs a read of `optimizer.found_inf` from the device); one of a subclass whose `step()` calls
    `super().step()` counts once. `step()` without an update since does nothing, so it may be called per micro-batch,
    or `num_processes` times by Accelerate.

    Where the optimizer wraps another one that has all its parameters (Lookahead, Accelerate's, sharpness-aware
    minimisation with its `first_step` and `second_step`), the steps of the inner one count, and they alone, whichever
    method of the wrapper calls them. Where parameters change and no step is seen at all, `step()` warns once.

    Resuming: build optimizer and scheduler as before, then load both states in any order. Position and group scales
    are restored. Where the schedule given to the constructor is not the saved one, with k updates done:

    * same values at steps k - 1 and k, or at the saved one's last two if those are past (a constant, a longer run of
      cycles, drops that are still to come): the new schedule, from step k. Where two merely cross they do not agree;
    * same levels in another length (more epochs, say): the saved one, stretched from step k to the new length, so
      that nothing jumps. Where the saved one is over (step k is its last, or past it) its last values are held: a
      finished run that goes on does not rise again, for which there is a new scheduler. Where the new length leaves
      too few steps for the phases to come, they are run through in one go and peaks among them may be missed; where
      it leaves none (k is the new one's last step, or past it) the new one's last values follow at once;
    * other levels (another `max_lr`): the new schedule from step k, which may jump: it was asked for.

    It composes with no other scheduler, since both write learning rates and the last one counts: torch's
    `SequentialLR` is refused, and in `ChainedScheduler`, or beside a scheduler or code of your own that writes them
    too, `step()` warns once that what it finds is not what it wrote (but for LRs that are tensors, which would have to
    be read from the device). One `Schedule` whose curve is what both should give together does it.

    Param groups may be added, replaced, moved and deleted at any time; what is new is scheduled from its first update
    on. An added group keeps the ratio of its learning rate to the one that a group of scale 1 was made with: to 1e-2
    of a lone group, say, 1e-4 of what is unfrozen later is a hundredth (`ScheduledGroups`).

    What a schedule has no key for is left as it stands, also as an earlier scheduler left it: after a `one_cycle` that
    was broken off, a schedule without momentum goes on with the momentum of that moment. Set it in the param groups,
    or in the schedule (`max_momentum=`, or `schedule.replace(momentum=0.9)`).

    Args:
        optimizer: any torch optimizer, or a wrapper of another class that holds one.
        schedule: what to follow.
        cycle_momentum: as in `ScheduledGroups`.
        group_scales: one factor a param group; given here they win over saved ones. None: the ratios of the groups'
            own learning rates, as in `ScheduledGroups`. They are the place for a list of `max_lr`s as torch's
            OneCycleLR takes it: the largest goes into the schedule, and each over the largest here.
        start_step: updates that were made before, where there is no saved scheduler to load: the values of this step
            are written, and counting goes on from it.
        last_epoch: torch's word, one less than `start_step`, for what makes schedulers by torch's interface (skorch).
    Warns: nobody may have typed the learning rate that the groups' are measured by, or ratios that were written into
        groups after an earlier scheduler are ignored (`warn_of_unclear_scales`).
    Raises: ValueError: as `ScheduledGroups`; `step(epoch)` or another `last_epoch`, since the position is counted;
        being made a part of torch's `SequentialLR`: one `Schedule` can hold all phases; or an optimizer that runs no
        step hooks.
    Example:
        >>> import torch, superconv as sc
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
        >>> scheduler = sc.ScheduleLR(optimizer, sc.one_cycle(101, max_lr=1.0))
        >>> optimizer.step(); scheduler.step(); [round(lr, 3) for lr in scheduler.get_last_lr()]
        [0.12]
        >>> scheduler = sc.ScheduleLR(optimizer, sc.one_cycle(101, max_lr=1.0), start_step=45)  # 45 updates were made
        >>> [round(lr, 3) for lr in scheduler.get_last_lr()]
        [1.0]

        Discriminative learning rates: .01, .1 and 1 at the peak of one cycle.

        >>> layers = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(3)]
        >>> optimizer = torch.optim.SGD(layers, lr=0.1, momentum=0.9)
        >>> schedule = sc.one_cycle(101, max_lr=1.0)
        >>> scheduler = sc.ScheduleLR(optimizer, schedule, group_scales=[1 / 100, 1 / 10, 1], start_step=45)
        >>> scheduler.get_last_lr()
        [0.01, 0.1, 1.0]

    Differs: from torch's schedulers in that it wraps no method of the optimizer, and in that `step()` after several
        updates goes to where they lead.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        cycle_momentum: bool | None = None,
        group_scales: Sequence[float] | None = None,
        start_step: int = 0,
        last_epoch: int = -1,
    ) -> None:
        if last_epoch != -1 and start_step != 0:
            raise ValueError("start_step and last_epoch say the same thing in two ways; give start_step alone")
        start_step = checks.whole("start_step", start_step if last_epoch == -1 else last_epoch + 1, at_least=0)
        # LRScheduler.__init__ is left out: it would wrap optimizer.step and hold a counter of its own.
        self._given = schedule
        self.optimizer = torch_optimizer(optimizer)
        warn_of_unclear_scales(self.optimizer, group_scales)
        self._groups = ScheduledGroups(optimizer, schedule, cycle_momentum=cycle_momentum, group_scales=group_scales)
        self._position = _Position(self._groups, start_step)
        self._uncounted = UncountedUpdates(self.optimizer)
        self._warned_of_gap = self._warned_of_another = False
        self._last_epoch = start_step
        self._step_count = 1  # read and written by Accelerate
        self._attach()

    @property
    def schedule(self) -> Schedule:
        """The schedule that is followed; after a resume in another length, the stretched one."""
        return self._groups.schedule

    @property
    def last_epoch(self) -> int:
        """Torch's name for the step whose values are set."""
        return self._last_epoch

    @last_epoch.setter
    def last_epoch(self, step: int) -> None:
        if step == self._last_epoch - 1:  # how SequentialLR takes back the first step of what it is given
            raise ValueError(
                f"last_epoch of a ScheduleLR was set back from {self._last_epoch} to {step}, as by torch's "
                "SequentialLR; ScheduleLR counts all updates of its optimizer and writes what its schedule says, so it "
                "can be no part of a sequence; make one Schedule that holds all phases (its curve a "
                "superconv.schedules.Piecewise, say), and give that to one ScheduleLR"
            )
        if step != self._last_epoch:
            raise ValueError(
                f"last_epoch of a ScheduleLR was set from {self._last_epoch} to {step!r}; it counts the updates of its "
                "optimizer by itself; call step() after each update (in ignite: a handler for ITERATION_COMPLETED "
                "that does so). To go on from a saved state use load_state_dict; where there is none, make "
                "it with start_step=..., the number of updates that were made"
            )

    @property
    def base_lrs(self) -> list[float | Tensor]:  # type: ignore[override]
        """The learning rate that every group was made with."""
        return [float(group.get("initial_lr", group["lr"])) for group in self.optimizer.param_groups]

    @property
    def _last_lr(self) -> list[float | Tensor]:  # type: ignore[override]
        """What others read of torch's schedulers in place of `get_last_lr()`."""
        return self.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Write the values of the next update; nothing where no update was made since."""
        if epoch is not None:
            raise ValueError(
                f"ScheduleLR counts optimizer updates by itself, got step({epoch!r}); call step() after each update"
            )
        position = self._position
        gap = position.made - position.written
        if gap == 0 and not position.hooked_in:
            self._look_for_uncounted()
        if gap == 0 and not self._groups.stale:
            return
        if gap > 1 and not self._warned_of_gap:
            self._warned_of_gap = True
            warnings.warn(
                f"{gap} optimizer updates since the last ScheduleLR.step(): the schedule counts updates, and is "
                "coarse like this; call step() after each one (in Lightning: interval='step')",
                UserWarning,
                stacklevel=2,
            )
        if not self._warned_of_another:
            self._look_for_another()
        position.write(position.made)
        self._last_epoch = position.made
        self._step_count += 1

    def _look_for_another(self) -> None:
        changed = self._groups.changed(self._position.made)
        if changed is not None:
            self._warned_of_another = True
            found, written = changed
            warnings.warn(
                f"a param group has learning rate {found:g} where ScheduleLR wrote {written:g}: another scheduler (as "
                "in torch's ChainedScheduler) or code of yours writes it too, and the last to write counts; ScheduleLR "
                "composes with no other, so make one Schedule of what both should give together (its curve a "
                "superconv.schedules.Piecewise, say) and step that alone",
                UserWarning,
                stacklevel=3,
            )

    def _look_for_uncounted(self) -> None:
        if self._uncounted.found():
            name = type(self.optimizer).__name__
            warnings.warn(
                f"the parameters of {name} were changed again and again, but none of its steps was seen, so the "
                f"schedule stays at step {self._position.made}: something else trains them, or {name} does it by other "
                "means than its step(); give ScheduleLR the optimizer whose step() makes the updates",
                UserWarning,
                stacklevel=3,
            )

    def get_last_lr(self) -> list[float | Tensor]:
        """The learning rate of every group, as the optimizer has it; of a tensor, as last written."""
        return [*self._groups.present_lrs]

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of every group at the present count of updates."""
        self._groups.take_up()
        return [*self._groups.scaled(self.schedule(self._position.made)["lr"])]

    def state_dict(self) -> dict[str, Any]:
        """Plain copied data: the count of updates, the schedule, the group scales and what they are over."""
        groups = self._groups
        return {
            "format": FORMAT,
            "updates": self._position.made,
            "schedule": groups.schedule.to_dict(),
            **groups.state(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, by the policy in the class's docstring.

        Raises: ValueError: a state of another scheduler or format, which leaves this one as it was.
        """
        if state_dict.get("format") != FORMAT or "updates" not in state_dict:
            raise ValueError(
                f"this is no state of ScheduleLR of format {FORMAT} (keys {sorted(map(str, state_dict))}); load the "
                "state of the same scheduler, or start a new one"
            )
        updates = int(state_dict["updates"])
        schedule = resumed_schedule(Schedule.from_dict(state_dict["schedule"]), self._given, updates)
        groups = self._groups
        groups.load(state_dict)
        groups.schedule = schedule
        self._position.made = self._last_epoch = updates
        self._position.write(updates)

    def _attach(self) -> None:
        weakref.finalize(self, _remove, self._position.attach()).atexit = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._attach()  # a copied optimizer comes without its hooks

    def __copy__(self) -> ScheduleLR:
        """A scheduler of the same optimizer with a count of its own: one that both share would count twice."""
        shared = (self.optimizer, self.optimizer.param_groups, *self.optimizer.param_groups)
        return copy.deepcopy(self, {id(each): each for each in shared})


def _remove(handles: tuple[Any, ...]) -> None:
    for handle in handles:
        handle.remove()


class _Position:
    """Updates made and values written; its methods are the optimizer's hooks (which hold no scheduler alive)."""

    def __init__(self, groups: ScheduledGroups, start_step: int) -> None:
        self.groups = groups
        self.made = start_step
        self.hooked_in = False  # whether a step of the optimizer was ever seen, be it one that does not count
        self.nesting = StepNesting()
        self.write(start_step)

    def write(self, step: int) -> None:
        self.groups.write(step)
        self.written = step

    def attach(self) -> tuple[Any, ...]:
        """Hook into the optimizer that makes the updates; the handles remove the hooks."""
        optimizer = self.groups.optimizer
        counted = counted_optimizer(optimizer)
        both = {id(each): each for each in (optimizer, counted)}.values()
        loaded = [each for each in both if "_optimizer_load_state_dict_post_hooks" in each.__dict__]
        return (
            counted.register_step_pre_hook(self.before_update),
            counted.register_step_post_hook(self.after_update),
            *(each.register_load_state_dict_post_hook(self.after_load) for each in loaded),
        )

    @off_while_preserved
    def before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """A group that was added since the last write is scheduled from its first update on."""
        self.hooked_in = True
        self.nesting.enter(optimizer)
        if self.groups.stale:
            self.write(self.written)

    @off_while_preserved
    def after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Count the update, unless a fused optimizer under a GradScaler found an overflow and did not move."""
        if not self.nesting.leave():
            return
        found_inf = optimizer.__dict__.get("found_inf")
        if found_inf is None or not float(found_inf):
            self.made += 1

    def after_load(self, optimizer: Optimizer) -> None:
        """What was loaded into the groups gives way to the schedule: the order of loading does not matter."""
        self.write(self.written)


def resumed_schedule(saved: Schedule, given: Schedule, step: int) -> Schedule:
    """What to follow after `step` updates under `saved`, where the new run was given `given`.

    The given one where it agrees with the saved one at `step` and before it (or at the saved one's last steps, if those
    are past), has other levels, or is over by then; else the saved one stretched from there to the given length.
    """
    start, last = min(step, saved.total_steps - 1), given.total_steps - 1

    def agree(at: int) -> bool:
        """Not a rise of one that crosses a fall of the other: of a step alone that would be no agreement."""
        return all(given(each) == saved(each) for each in (at, max(at - 1, 0)))

    if saved == given or agree(step) or agree(start):
        return given
    same_levels = {k: c.levels() for k, c in saved.curves.items()} == {k: c.levels() for k, c in given.curves.items()}
    if not same_levels or step >= last:
        return given
    try:
        return saved.stretch(given.total_steps, from_step=start)  # from its last step: it stands still there
    except ValueError:  # too few steps to keep the phases apart, but the last values can still be met
        ends = [start, last], [start, saved.total_steps - 1]
        return Schedule(given.total_steps, {key: Stretched(curve, *ends) for key, curve in saved.curves.items()})
