"""Plain attributes of modules: what a forward pass counts in comes back, what others keep there stays."""

import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.training.evaluate import check_metric


class Counting(nn.Module):
    """Every pass weighs in the next one's outputs, by counts in all the ways below."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 2), nn.Dropout(0.0)
        self.passes, self.temperature, self.name, self.ready, self.cached = 0, 1.0, "first", False, None
        self.recent, self.by_kind, self.pair, self.seen = [0.0], {"train": 0}, (0, 1.0), set()
        self.long = list(range(1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.ready:  # as ActNorm: set by the first batch
            self.register_buffer("shift", x.mean(0))
            self.ready = True
        if self.cached is None:
            self.cached = x.detach().mean()
        if not hasattr(self, "late"):
            self.late, self.made = 0, object()
        self.late += self.made is not None
        if self.training:
            self.passes += 1
            self.temperature *= 0.9
            self.name = f"{self.name}."[:40]
            self.recent.append(self.temperature)
            self.by_kind["train"] += 1
            self.pair = (self.passes, self.temperature)
            self.seen.add(self.passes)
            self.drop.p = min(0.5, self.passes / 100)
        weight = sum(self.recent) + self.by_kind["train"] + self.pair[0] + len(self.name) + len(self.seen) + self.late
        return self.drop(self.layer(x - self.shift)) * (1 + weight / 100) + self.cached

    def plain(self) -> dict:
        left_out = {"training", "layer", "drop", *vars(nn.Module())}
        return {name: repr(value) for name, value in vars(self).items() if name not in left_out} | {"p": self.drop.p}


def setup() -> tuple[Counting, torch.optim.Optimizer, list]:
    torch.manual_seed(0)
    x = torch.randn(96, 4)
    model = Counting()
    batches = [(x[i : i + 16], (x[i : i + 16, 0] > 0).long()) for i in range(0, 96, 16)]
    return model, torch.optim.SGD(model.parameters(), 0.05), batches


def losses(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list, steps: int = 6) -> list[float]:
    torch.manual_seed(1)
    records = sc.train_steps(model, optimizer, F.cross_entropy, batches, sc.constant(steps, lr=0.05))
    return [float(record.loss) for record in records]


def test_a_range_test_leaves_no_trace_in_what_a_forward_pass_counts() -> None:
    for warm in (0, 3):
        found = []
        for tested in (False, True):
            model, optimizer, batches = setup()
            if warm:
                losses(model, optimizer, batches, warm)
            before, recent = model.plain(), model.recent
            if tested:
                given = {"end_lr": 0.5, "total_steps": 8, "forks": 2, "eval_batches": batches}
                sc.lr_range_test(model, optimizer, F.cross_entropy, batches, **given)
                assert model.plain() == before
                assert model.recent is recent
                assert hasattr(model, "late") is (warm > 0)
            found.append((losses(model, optimizer, batches), {**model.plain(), "made": 0}))
        assert found[0] == found[1]


def test_a_monitor_counts_no_passes() -> None:
    found = []
    for watched in (False, True):
        model, optimizer, batches = setup()
        if watched:
            sc.LRMonitor(model, optimizer, F.cross_entropy, batches * 3, every=2)
        found.append((losses(model, optimizer, batches), model.passes))
    assert found[0] == found[1]


def test_trying_a_metric_out_counts_no_pass() -> None:
    model, _, batches = setup()
    before = model.plain()
    check_metric(model, batches, metric="accuracy")
    assert model.plain() == before


def test_an_evaluation_leaves_what_its_passes_record() -> None:
    class Recording(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.features = x.mean(0)
            return super().forward(x)

    model, batches = Recording(4, 2), setup()[2]
    for evaluate_with in ("running", "batch"):
        sc.evaluate(model, batches, F.cross_entropy, evaluate_with=evaluate_with)
        assert torch.equal(model.features, batches[-1][0].mean(0))
        del model.features


def test_what_a_block_keeps_on_a_module_stays_where_no_pass_names_it() -> None:
    class Net(nn.Linear):
        def measure(self) -> None:
            with sc.preserved(self):
                self.found, self.ramp = 0.5, object()
                self.extra = nn.Linear(1, 1)

    net = Net(2, 2)
    net.measure()
    assert net.found == 0.5
    assert hasattr(net, "ramp")
    assert hasattr(net, "extra")


def test_settings_that_a_pass_made_beside_a_module_of_its_own_stay_with_it() -> None:
    class Late(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not hasattr(self, "layer"):
                self.width = 3
                self.layer = nn.Linear(x.shape[1], self.width)
            return self.layer(x).view(-1, self.width)

    late = Late()
    with sc.preserved(late):
        late(torch.ones(2, 4))
    assert late(torch.ones(2, 4)).shape == (2, 3)


def test_values_are_the_same_objects_and_long_lists_are_left_alone() -> None:
    model, _, _ = setup()
    model.kept = kept = torch.ones(3)
    model.with_graph = model.layer.weight.sum()
    with sc.preserved(model) as rewind:
        for _ in range(2):
            model.kept, model.with_graph = torch.zeros(3), 1
            model.temperature, model.long[0] = 7.0, -1
            del model.pair
            rewind()
            assert model.kept is kept
            assert model.temperature == 1.0
            assert model.pair == (0, 1.0)
    assert model.with_graph == 1
    assert model.long[0] == -1
