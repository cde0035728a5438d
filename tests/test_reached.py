import random
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader

from superconv.restore.reached import reached


class Holder:
    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


def test_attributes_containers_closures_and_cycles_each_once() -> None:
    rng, other, default, bound = (random.Random(i) for i in range(4))

    def draw(again: random.Random = default) -> float:
        return other.random() + again.random()

    holder = Holder(number=1, name="a", rng=rng, deep={"list": [(rng, partial(draw))]}, method=Holder(r=bound).__init__)
    holder.itself = {"again": holder}
    found = dict(reached(holder))
    assert [path for path, each in found.items() if each is rng] == ["rng"]
    assert {path for path, each in found.items() if isinstance(each, random.Random)} == {
        "rng",
        "deep.list.0.1.func.other",
        "deep.list.0.1.func.0",
        "method.__self__.r",
    }
    assert not any(each is holder or each in (1, "a") for each in found.values() if not isinstance(each, np.ndarray))


def test_it_ends_where_things_are_deep_long_or_many() -> None:
    deep: object = random.Random(0)
    for _ in range(50):
        deep = [deep]
    assert not any(isinstance(each, random.Random) for _, each in reached(Holder(deep=deep)))
    assert len(dict(reached(Holder(long=[object() for _ in range(1001)])))) == 1
    many = [[Holder() for _ in range(100)] for _ in range(1000)]
    assert sum(1 for _ in reached(Holder(many=many))) == 10_000


def test_tensors_modules_of_python_and_closed_classes_are_not_looked_into() -> None:
    loader = DataLoader([1], generator=torch.Generator())
    found = dict(reached(Holder(numpy=np, kind=Holder, loader=loader, tensor=torch.ones(1)), closed=(DataLoader,)))
    assert set(found) == {"numpy", "kind", "loader", "tensor"}
    assert "generator" in dict(reached(loader, closed=(DataLoader,)))  # the thing itself always is


def test_keys_that_are_no_words_are_numbered() -> None:
    key = torch.ones(3)
    found = dict(reached(Holder(state={"a": [key], key: [key], 7: (rng := random.Random(0),)})))
    assert set(found) == {"state", "state.a", "state.a.0", "state.1", "state.7", "state.7.0"}
    assert found["state.7.0"] is rng
