"""The order of a loader's batches, brought back: its samplers, generators and number of the epoch."""

from __future__ import annotations

from typing import Any

from .kept import Kept, Restore, run_all
from .loader_order import LoaderOrder, generators_of
from .random_states import GENERATORS
from .values import value_restore


def order_restore(order: LoaderOrder, kept: Kept) -> Restore:
    """What its samplers hold, the generators that orders and transforms draw from, and the number of the epoch."""
    data_sets, numbers = order.data_sets(), order.numbers()
    kept.seen.update({id(data): data for data in data_sets})  # one may be a list, to which a sampler refers
    places = [vars(sampler) for sampler in order.samplers().values()]
    generators = [*generators_of(order.batches), *order.generators().values()]
    restores = [value_restore(each, kept) for each in (*places, *generators)]
    restores += [_bound_generators(attributes) for attributes in order.data_holders()]
    epochs = [(data, getattr(data, "epoch", None)) for data in data_sets if hasattr(data, "set_epoch")]

    def restore() -> None:
        for data, epoch in epochs:
            if epoch is not None:
                data.set_epoch(epoch)
        for attributes, values in numbers:
            attributes.update(values)
        run_all(restores)

    return restore


def _bound_generators(attributes: dict[str, Any]) -> Restore:
    """The generators that stand there, and none where one is made at the first draw."""
    before = {name: value for name, value in attributes.items() if value is None or isinstance(value, GENERATORS)}

    def restore() -> None:
        made = [name for name, value in attributes.items() if isinstance(value, GENERATORS)]
        for name in made:
            if name in before:
                attributes[name] = before[name]
            else:
                del attributes[name]

    return restore
