"""From epochs to steps: the one place where epochs, samples and batches become optimizer updates."""

from __future__ import annotations

from collections.abc import Sized

from . import checks


def total_steps(
    epochs: float,
    samples: int | Sized,
    batch_size: int | None = None,
    *,
    drop_last: bool = False,
    accumulation_steps: int = 1,
    world_size: int = 1,
) -> int:
    """The number of optimizer updates in `epochs` passes over `samples`, or over a loader.

    One epoch has, with [x] rounded down where `drop_last` is set and up where it is not:

        samples a rank = [samples / world_size]
        batches        = [samples a rank / batch_size]      or len(loader)
        updates        = [batches / accumulation_steps]

    Args:
        epochs: passes over the data; a fraction is rounded to the nearest whole update at the end.
        samples: training samples over all ranks; or the loader itself: a DataLoader, or anything else whose length is
            the number of batches that a rank draws in an epoch.
        batch_size: samples in one batch of one rank, as its DataLoader takes it. An update uses
            `batch_size * accumulation_steps * world_size` samples. Left out with a loader, as is `world_size`.
        drop_last: incomplete batches are dropped (a DataLoader's own default is False, that of `sc.data.Batches` is
            True), and so is an incomplete accumulation at an epoch's end, also with a loader. (Our own loop carries it
            over into the next epoch: there, divide the updates of `accumulation_steps=1`.)
        accumulation_steps: batches a rank before one update.
        world_size: ranks that share the data.
    Raises: ValueError: an argument below its bound, a loader without a length or beside a `batch_size` or `world_size`,
        or not a single update comes of it. TypeError: a data set instead of its loader.
    Example:
        >>> total_steps(10, 50_000, 128), total_steps(10, 50_000, 128, drop_last=True)
        (3910, 3900)
        >>> loader = [range(0, 32), range(32, 64), range(64, 70)]
        >>> total_steps(10, loader)
        30
    """
    count = checks.number("epochs", epochs, above=True)
    accumulated = checks.whole("accumulation_steps", accumulation_steps, at_least=1)
    ranks = checks.whole("world_size", world_size, at_least=1)
    if isinstance(samples, Sized):
        unit, there, size = "batches", _batches(samples, batch_size, ranks), 1
        divisors = [accumulated]
    elif batch_size is None:
        raise ValueError(f"batch_size is missing: {samples!r} samples make no steps without it; give it, or the loader")
    else:
        unit, there = "samples", checks.whole("samples", samples, at_least=1)
        size = checks.whole("batch_size", batch_size, at_least=1)
        divisors = [ranks, size, accumulated]
    left = there
    for divisor in divisors:
        left = left // divisor if drop_last else -(-left // divisor)
    updates = round(checks.number("epochs times the updates of one", count * left))
    if updates < 1:
        raise ValueError(
            f"{count:g} epochs of {there} {unit} give no update at {size * accumulated * ranks} {unit} an update"
            + (" where only full ones count; " if drop_last else "; ")
            + "use more epochs, or a smaller batch_size or accumulation_steps (in Python also: drop_last=False)"
        )
    return updates


def _batches(loader: Sized, batch_size: int | None, world_size: int) -> int:
    """How many a rank draws in an epoch."""
    name = type(loader).__name__
    if hasattr(loader, "__getitem__") and not isinstance(loader, list | tuple):
        raise TypeError(
            f"samples must be a whole number or a loader, got a {name}, whose length is no number of batches; pass its "
            "DataLoader, or len(...) of it and the batch_size"
        )
    if batch_size is not None or world_size != 1:
        raise ValueError(
            f"a loader ({name}) has batches of its own, of its own rank, so that batch_size and world_size would be "
            "ignored; leave them out, or give the number of samples in place of the loader"
        )
    try:
        return checks.whole("the loader's length", len(loader), at_least=1)
    except TypeError as error:  # a DataLoader of an IterableDataset
        raise ValueError(f"this {name} does not know its length ({error}); give samples and batch_size") from None
