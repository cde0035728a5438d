"""From epochs to steps: the one place where epochs, samples and batches become optimizer updates."""

from __future__ import annotations

from . import checks


def total_steps(
    epochs: float,
    samples: int,
    batch_size: int,
    *,
    drop_last: bool = True,
    accumulation_steps: int = 1,
    world_size: int = 1,
) -> int:
    """The number of optimizer updates in `epochs` passes over `samples`.

    One epoch has, with [x] rounded down where `drop_last` is set and up where it is not:

        samples a rank = [samples / world_size]
        batches        = [samples a rank / batch_size]
        updates        = [batches / accumulation_steps]

    Args:
        epochs: passes over the data; a fraction is rounded to the nearest whole update at the end.
        samples: training samples over all ranks.
        batch_size: samples in one batch of one rank, as its DataLoader takes it. An update uses
            `batch_size * accumulation_steps * world_size` samples.
        drop_last: incomplete batches are dropped, and so is an incomplete accumulation at an epoch's end. (Our own loop
            carries it over into the next epoch: there, divide the updates of `accumulation_steps=1`.)
        accumulation_steps: batches a rank before one update.
        world_size: ranks that share the data.
    Raises: ValueError: an argument below its bound, or not a single update comes of it.
    Example:
        >>> total_steps(10, 50_000, 128), total_steps(10, 50_000, 128, drop_last=False)
        (3900, 3910)
    """
    count = checks.number("epochs", epochs, above=True)
    size = checks.whole("batch_size", batch_size, at_least=1)
    left = checks.whole("samples", samples, at_least=1)
    ranks = checks.whole("world_size", world_size, at_least=1)
    accumulated = checks.whole("accumulation_steps", accumulation_steps, at_least=1)
    for divisor in (ranks, size, accumulated):
        left = left // divisor if drop_last else -(-left // divisor)
    updates = round(checks.number("epochs times the updates of one", count * left))
    if updates < 1:
        raise ValueError(
            f"{count:g} epochs of {samples} samples give no update at {size * accumulated * ranks} samples an update"
            + (" where only full ones count; " if drop_last else "; ")
            + "use more epochs, or a smaller batch_size or accumulation_steps (in Python also: drop_last=False)"
        )
    return updates
