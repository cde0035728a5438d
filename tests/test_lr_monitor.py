import copy
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.analysis.curvature.iterates import noise_ratio
from superconv.measure.curvature.monitor import LRMonitor
from superconv.measure.curvature.stiffness import Stiffness


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
    )  # fmt: skip


def batches(count, size=12, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, 6, generator=generator), torch.randint(3, (size,), generator=generator))
        for _ in range(count)
    ]


OPTIMIZERS = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.01),
    "adamw-fused": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, fused=True),
}


def run(name, watch, steps=42, **options):
    model = network()
    optimizer = OPTIMIZERS[name](model)
    monitor = watch(model, optimizer, **options) if watch else None
    torch.manual_seed(7)  # dropout draws from here
    for inputs, targets in batches(steps, seed=11):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    if monitor:
        monitor.close()
    gradients = [p.grad for p in model.parameters()]
    state = [value for entry in optimizer.state.values() for value in entry.values()]
    return [*model.state_dict().values(), *gradients, *state, torch.get_rng_state(), torch.rand(3)], monitor


@pytest.mark.parametrize("method", ["finite_difference", "exact"])
def test_products_of_either_kind_give_the_curvature_along_the_gradient(method):
    line = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(line.parameters(), lr=0.01)
    data = torch.ones(4, 1), torch.zeros(4, 1)
    calls = []

    def loss_fn(outputs, targets):
        calls.append(1)
        return F.mse_loss(outputs, targets)

    with LRMonitor(line, optimizer, loss_fn, [data] * 16, every=1, method=method) as monitor:
        before = len(calls)
        for _ in range(8):
            line.weight.grad = torch.ones(1, 1)
            optimizer.step()
    assert len(calls) - before == 8 * 4  # a batch's gradients: A, B, the product, A before the update
    assert monitor.latest.probes.expected_step.value == pytest.approx(0.5, rel=1e-3 if method != "exact" else 1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_watching_changes_no_bit(name):
    alone, _ = run(name, None)

    def watch(model, optimizer):
        return LRMonitor(
            model, optimizer, F.cross_entropy, batches(16), every=5, include_batch_norm=True, eigenvalues_every=10
        )

    watched, monitor = run(name, watch)
    assert len(monitor.rows) == 8
    assert monitor.latest.probes.secant.magnitude.value is not None
    assert monitor.latest.stability_limit > 0
    assert monitor.latest.eigenvalue_step == 40
    for a, b in zip(alone, watched, strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


class Noise(nn.Module):
    """A loss whose gradient is white noise, whatever the weights are."""

    def __init__(self, size=3000):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(size))

    def forward(self, noise):
        return (noise * self.theta).sum()


@pytest.mark.parametrize("lr", [1e-3, 0.1, 30.0])
@pytest.mark.parametrize(("momentum", "spacing"), [(0.0, 1), (0.9, 1), (0.9, 10)])
def test_pure_noise_is_reported_as_the_echo_at_any_lr(lr, momentum, spacing):
    torch.manual_seed(0)
    model = Noise()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    with LRMonitor(model, optimizer, every=10, spacing=spacing) as monitor:
        for _ in range(100 + 60 * spacing):
            optimizer.zero_grad()
            model(torch.randn(3000)).backward()
            optimizer.step()
    reading = monitor.latest
    assert reading.echo is True
    assert reading.squared_estimate == pytest.approx(lr * noise_ratio(momentum, spacing), rel=0.05)
    assert reading.noise_value == pytest.approx(lr * noise_ratio(momentum, spacing))
    assert "echo: this number reflects the LR, not the curvature" in str(reading)
    assert reading.paper_estimate == pytest.approx(reading.noise_line, rel=0.15)


@pytest.mark.parametrize("lr", [0.01, 0.1])
def test_a_noise_free_quadratic_gives_its_curvature_and_no_echo(lr):
    line = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(line.parameters(), lr=lr)
    data = torch.ones(4, 1), torch.zeros(4, 1)  # loss w^2: curvature 2
    with LRMonitor(line, optimizer, F.mse_loss, [data] * 16, every=2) as monitor:
        for _ in range(40):
            optimizer.zero_grad()
            F.mse_loss(line(data[0]), data[1]).backward()
            optimizer.step()
    reading = monitor.latest
    assert reading.echo is False
    assert reading.window_estimate == pytest.approx(0.5, rel=1e-3)
    assert reading.probes.secant.quotient.value == pytest.approx(0.5, rel=1e-3)
    assert reading.probes.expected_step.value == pytest.approx(0.5, rel=1e-3)
    assert "not correlated as noise" in str(reading)


def test_the_lr_of_each_update_and_real_updates_alone():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = sc.ScheduleLR(optimizer, sc.lr_ramp(10, start_lr=0.1, end_lr=1.0))
    with LRMonitor(model, optimizer, every=1) as monitor:
        for inputs, targets in batches(10):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            schedule.step()
    assert [row["lr"] for row in monitor.rows] == pytest.approx([0.1 * k for k in range(1, 11)])
    optimizer.param_groups[0]["lr"] = 77.0  # of an update that has not been made
    assert monitor.read().lr == pytest.approx(1.0)
    optimizer.step()
    assert monitor.step == 10  # closed


def test_an_update_that_a_gradient_scaler_skipped_does_not_count():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with LRMonitor(model, optimizer) as monitor:
        for factor in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            inputs, targets = batches(1)[0]
            scaler.scale(F.cross_entropy(model(inputs), targets) * factor).backward()
            scaler.step(optimizer)
            scaler.update()
    assert monitor.step == 2


def test_a_reading_any_time_and_rows_that_json_can_hold():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with LRMonitor(model, optimizer, F.cross_entropy, batches(16), every=3) as monitor:
        first = monitor.read()
        assert first.paper_estimate is None
        assert "too few updates" in str(first)
        run_on = batches(30)
        for inputs, targets in run_on:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    assert [row["step"] for row in monitor.rows] == list(range(3, 31, 3))
    again = json.loads(json.dumps(monitor.rows, allow_nan=False))
    assert again[-1]["effective_lr"] == pytest.approx(1.0)
    assert again[-1]["text"] == str(monitor.latest)
    assert "\n" not in str(monitor.latest)
    assert set(monitor.layers()) == {"0", "1", "4"}


@pytest.mark.parametrize(
    ("make", "momentum"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 0.9),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), 0.9),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.6), 0.9),
        (lambda p: torch.optim.SGD(p, lr=0.1, dampening=0.6), 0.0),  # torch dampens with a momentum alone
        # with this eps the preconditioner stands still
        (lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.9, 0.999), eps=1e6), 0.9),
        (lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.5, 0.999), eps=1e6, weight_decay=0.0), 0.5),
    ],
    ids=["sgd", "nesterov", "dampened", "dampened-without-momentum", "adam", "adamw"],
)
def test_the_effective_lr_is_how_far_one_gradient_pushes_in_all(make, momentum):
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    model = nn.Module()
    model.weight = weight
    optimizer = make([weight])
    adam = isinstance(optimizer, torch.optim.Adam)
    with LRMonitor(model, optimizer) as monitor:
        for step in range(600):  # a single gradient, after the start's corrections are gone
            weight.grad = torch.full_like(weight, float(step == 300))
            optimizer.step()
    pushed = -float(weight.detach()) * (1e6 if adam else 1.0)
    reading = monitor.read()
    assert reading.momentum == momentum
    assert reading.effective_lr == pytest.approx(pushed, rel=1e-6)


def test_parameters_that_are_left_out_are_named():
    model = network()
    model[0].weight.requires_grad_(False)
    model.spare = nn.Linear(2, 2)
    model.add_module("idle", nn.Identity())
    kept = [p for name, p in model.named_parameters() if p.requires_grad and name != "4.bias"]
    forward = nn.Sequential(*(model[i] for i in range(5))).forward
    model.forward = forward
    optimizer = torch.optim.SGD(kept, lr=0.1)
    monitor = LRMonitor(model, optimizer, F.cross_entropy, batches(16))
    assert monitor.left_out["0.weight"].startswith("frozen")
    assert monitor.left_out["4.bias"] == "not in the optimizer"
    assert monitor.left_out["spare.weight"].startswith("unused")
    monitor.close()


def test_sparse_and_complex_parameters_are_left_out_and_named():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 3, sparse=True)
            self.phase = nn.Parameter(torch.ones(3, dtype=torch.complex64))
            self.out = nn.Linear(3, 2)

        def forward(self, words):
            return self.out(self.table(words) * self.phase.abs())

    model = Words()
    optimizer = torch.optim.SGD([model.table.weight, model.out.weight, model.out.bias, model.phase], lr=0.1)
    data = [(torch.arange(4), torch.zeros(4, dtype=torch.long))] * 16
    with LRMonitor(model, optimizer, F.cross_entropy, data, every=1) as monitor:
        for inputs, targets in data[:9]:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    assert "sparse" in monitor.left_out["table.weight"]
    assert "complex" in monitor.left_out["phase"]
    assert monitor.latest.probes.signal_share.value is not None


def test_complex_parameters_alone_are_refused_by_name():
    model = nn.Linear(3, 2, dtype=torch.complex64)
    model.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    words = "complex parameters are not supported here, and the optimizer trains no other: weight, bias; "
    with pytest.raises(ValueError, match=words):
        LRMonitor(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_divergence_is_a_reading_and_no_exception():
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with LRMonitor(model, optimizer, F.cross_entropy, batches(16), every=1) as monitor:
        for _ in range(20):
            for p in model.parameters():
                p.grad = torch.full_like(p, float("inf") if monitor.step == 5 else 1.0)
            optimizer.step()
    assert monitor.latest.probes.expected_step.value is None
    assert monitor.latest.echo is None
    assert json.dumps(monitor.rows, allow_nan=False)


def test_bad_input():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    some = batches(16)
    frozen = copy.deepcopy(model).requires_grad_(False)
    for message, call in {
        "every is 0": lambda: LRMonitor(model, optimizer, every=0),
        "probes is 7": lambda: LRMonitor(model, optimizer, F.cross_entropy, some, probes=7),
        "loss_fn=None": lambda: LRMonitor(model, optimizer, None, some),
        "got no probe_batches": lambda: LRMonitor(model, optimizer, F.cross_entropy),
        "got 3 batches, 16 are needed": lambda: LRMonitor(model, optimizer, F.cross_entropy, some[:3]),
        "used up": lambda: LRMonitor(model, optimizer, F.cross_entropy, iter([])),
        "eigenvalues_every is 0": lambda: LRMonitor(model, optimizer, F.cross_entropy, some, eigenvalues_every=0),
        "with no probe_batches": lambda: LRMonitor(model, optimizer, eigenvalues_every=5),
        "method: got 'exactly'": lambda: LRMonitor(model, optimizer, F.cross_entropy, some, method="exactly"),
        "momentum is 1.0": lambda: LRMonitor(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=1.0)),
        "a Linear": lambda: LRMonitor(model, nn.Linear(1, 1)),
        "trains no real parameter": lambda: LRMonitor(frozen, optimizer),
        "does not depend on the model": lambda: LRMonitor(model, optimizer, lambda a, b: torch.ones(()), some),
        "must be a pair": lambda: LRMonitor(model, optimizer, F.cross_entropy, [torch.ones(2)] * 16),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    assert not optimizer._optimizer_step_post_hooks


def test_probe_batches_are_drawn_without_moving_random_states():
    data = torch.utils.data.TensorDataset(torch.randn(200, 6), torch.randint(3, (200,)))
    loader = torch.utils.data.DataLoader(data, 10, shuffle=True)
    state = torch.get_rng_state()
    model = network()
    torch.set_rng_state(state)
    LRMonitor(model, torch.optim.SGD(model.parameters(), lr=0.1), F.cross_entropy, loader).close()
    assert torch.equal(state, torch.get_rng_state())


def test_a_training_in_double_precision_is_watched():
    model = network().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    double = [(inputs.double(), targets) for inputs, targets in batches(16)]
    with LRMonitor(model, optimizer, F.cross_entropy, double, every=2, eigenvalues_every=16) as monitor:
        for inputs, targets in double:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    assert monitor.latest.paper_estimate > 0
    assert monitor.latest.probes.secant.magnitude.value > 0
    assert monitor.latest.stability_limit > 0


@pytest.mark.parametrize("unfrozen", [True, False], ids=["unfrozen", "frozen"])
def test_what_is_frozen_or_unfrozen_on_the_way_is_watched_as_it_is_trained(unfrozen):
    """The stability limit stayed that of the head alone, or ended in an error of torch's."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model[0].requires_grad_(not unfrozen)
    optimizer = torch.optim.SGD(model[2].parameters() if unfrozen else model.parameters(), lr=0.1)
    probes = batches(16)
    with LRMonitor(model, optimizer, F.cross_entropy, probes, every=5, eigenvalues_every=5) as monitor:
        for step, (inputs, targets) in enumerate(batches(55, seed=11)):
            if step == 12:
                model[0].requires_grad_(unfrozen)
                if unfrozen:
                    optimizer.add_param_group({"params": model[0].parameters()})
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    assert set(monitor.layers()) == ({"0", "2"} if unfrozen else {"2"})
    assert set(monitor.left_out) == (set() if unfrozen else {"0.weight", "0.bias"})
    expected = Stiffness(model, F.cross_entropy, probes[:4], optimizer).measure()
    assert monitor.latest.stability_limit == pytest.approx(expected.lr)
    assert monitor.latest.probes.signal_share.n == 8  # all of what is trained now
