import copy
import dataclasses
import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.training.micro_batches import weighted


def make_model(norm: bool = True) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU(), nn.Linear(16, 3)]
    return nn.Sequential(*layers)


def make_batches(count: int = 4, size: int = 8) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 6, generator=generator), torch.randint(3, (size,), generator=generator))
        for _ in range(count)
    ]


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_equals_a_hand_written_loop_bit_for_bit() -> None:
    batches, schedule = make_batches(), sc.one_cycle(10, max_lr=0.5)
    ours, by_hand = make_model(), make_model()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    records = list(sc.train_steps(ours, optimizer, F.cross_entropy, batches, schedule))
    hand = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    for step in range(10):
        hand.param_groups[0].update(lr=schedule(step)["lr"], momentum=schedule(step)["momentum"])
        hand.zero_grad()
        loss = F.cross_entropy(by_hand(batches[step % 4][0]), batches[step % 4][1])
        loss.backward()
        hand.step()
        assert records[step].loss == loss
        assert records[step].lr == (schedule(step)["lr"],)
        assert records[step].momentum == schedule(step)["momentum"]
        assert not records[step].loss.requires_grad
    assert torch.equal(weights(ours), weights(by_hand))
    assert [r.step for r in records] == list(range(10))


def test_at_a_yield_the_update_is_done_its_gradient_is_there_and_the_next_batch_is_not_drawn() -> None:
    drawn = []

    class Counting:
        def __iter__(self):  # type: ignore[no-untyped-def]
            for batch in make_batches():
                drawn.append(1)
                yield batch

    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = weights(model)
    for record in sc.train_steps(model, optimizer, F.cross_entropy, Counting(), sc.constant(3, lr=0.1)):
        assert len(drawn) == record.step + 1
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        assert torch.allclose(before - 0.1 * gradient, weights(model), atol=1e-7)
        before = weights(model)


@pytest.mark.parametrize("sizes", [[4, 4], [7, 1], [1, 2, 5]])
def test_accumulated_micro_batches_equal_the_joined_batch(sizes: list[int]) -> None:  # pitfall 15
    inputs, targets = make_batches(1, 8)[0]
    micro = list(zip(inputs.split(sizes), targets.split(sizes), strict=True))
    finals = []
    for batches, accumulation in (([(inputs, targets)], 1), (micro, len(sizes))):
        model = make_model(norm=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        options = {"accumulation_steps": accumulation, "clip_grad_norm": 0.5}
        history = sc.train(model, optimizer, F.cross_entropy, batches, sc.constant(5, lr=0.3), **options)
        finals.append((weights(model), history.loss))
    assert torch.allclose(finals[0][0], finals[1][0], atol=1e-6)
    assert finals[0][1] == pytest.approx(finals[1][1], abs=1e-6)


LOSSES = {
    "module": nn.CrossEntropyLoss(ignore_index=9),
    "by class": nn.CrossEntropyLoss(ignore_index=9, weight=torch.tensor([0.2, 1.0, 3.0])),
    "partial": functools.partial(F.cross_entropy, ignore_index=9, label_smoothing=0.1),
    "function": lambda outputs, targets: F.cross_entropy(outputs, targets, ignore_index=9),
}


@pytest.mark.parametrize("name", LOSSES)
def test_accumulated_micro_batches_with_padding_equal_the_joined_batch(name: str) -> None:
    """Two of 1 and 12 valid tokens, weighted by samples, ended .22 away from the joined batch."""
    loss_fn = LOSSES[name]
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(9, 6, 4, generator=generator)
    targets = torch.randint(3, (9, 4), generator=generator)
    targets[:3], targets[6:] = 9, 9  # 1, 12 and no valid token
    targets[0, 0] = 1
    micro = list(zip(inputs.split(3), targets.split(3), strict=True))
    finals = []
    for batches, accumulation in (([(inputs, targets)], 1), (micro, 3)):
        torch.manual_seed(0)
        model = nn.Conv1d(6, 3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        count = (lambda batch: (batch[1] != 9).sum()) if name == "function" else None
        options = {"accumulation_steps": accumulation, "count": count}
        history = sc.train(model, optimizer, loss_fn, batches, sc.constant(5, lr=0.3), **options)
        finals.append((weights(model), history.loss))
    assert torch.allclose(finals[0][0], finals[1][0], atol=1e-6)
    assert finals[0][1] == pytest.approx(finals[1][1], abs=1e-6)


def test_labels_without_any_to_ignore_weigh_as_samples_do() -> None:
    micro = [batch for size in (3, 5) for batch in make_batches(1, size)]
    finals = []
    for loss_fn in (F.cross_entropy, lambda outputs, targets: F.cross_entropy(outputs, targets)):
        model = make_model(norm=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sc.train(model, optimizer, loss_fn, micro, sc.constant(5, lr=0.3), accumulation_steps=2)
        finals.append(weights(model))
    assert torch.equal(*finals)


def test_a_weight_on_a_device_is_a_tensor_and_leaves_the_loss_its_type() -> None:
    loss = torch.tensor(0.7, requires_grad=True)
    share = torch.tensor(1 / 3, dtype=torch.double)
    assert weighted(loss, share).dtype == torch.float32
    assert weighted(loss, share).item() == weighted(loss, 1 / 3).item()
    nothing = torch.tensor(math.nan, requires_grad=True)
    for zero in (0.0, torch.tensor(0.0, dtype=torch.double)):
        assert weighted(nothing, zero).item() == 0.0


def test_the_range_test_weighs_micro_batches_likewise() -> None:
    micro = make_batches(2, 4)
    ramps = []
    for count in (None, lambda batch: 4, lambda batch: float(batch[1][0] == micro[0][1][0])):
        model = make_model(norm=False)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        options = {"end_lr": 1.0, "total_steps": 4, "accumulation_steps": 2, "count": count}
        ramps.append(sc.lr_range_test(model, optimizer, F.cross_entropy, micro, **options))
    assert ramps[0] == dataclasses.replace(ramps[1], seconds=ramps[0].seconds)
    assert (ramps[0].train_loss != ramps[2].train_loss).all()


def test_counts_of_another_kind_are_named() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for count, words in (
        (3, "count must be a function"),
        (lambda batch: None, "count must give a number for each batch, got None"),
        (lambda batch: -1, "a number of 0 or more"),
        (lambda batch: 0, "count gave 0 for all"),
    ):
        with pytest.raises(ValueError, match=words):
            sc.train(
                model, optimizer, F.cross_entropy, make_batches(), sc.constant(2, lr=0.1), accumulation_steps=2,
                count=count,
            )  # fmt: skip


def test_a_frozen_norm_stays_frozen_and_an_eval_model_is_trained() -> None:
    model = make_model()
    model[1].eval()
    mean = model[1].running_mean.clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sc.train(model, optimizer, F.cross_entropy, make_batches(), sc.constant(3, lr=0.1), eval_batches=make_batches())
    assert torch.equal(model[1].running_mean, mean)
    assert not model[1].training
    model.eval()
    sc.train(model, optimizer, F.cross_entropy, make_batches(), sc.constant(1, lr=0.1))
    assert model.training
    assert model[1].training


def test_evaluations_come_when_asked_for_and_change_nothing() -> None:  # pitfall 13
    finals = []
    for evaluation in ({}, {"eval_batches": make_batches(2), "evaluate_every": 3, "evaluate_with": "reestimated"}):
        model = make_model().append(nn.Dropout(0.3))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(*(torch.cat(x) for x in zip(*make_batches(), strict=True))), 8, shuffle=True
        )
        torch.manual_seed(3)
        history = sc.train(model, optimizer, F.cross_entropy, loader, sc.constant(8, lr=0.01), **evaluation)
        finals.append(torch.cat([weights(model), *(b.flatten().float() for b in model.buffers())]))
    assert torch.equal(*finals)
    assert [step for step, _ in history.evaluations] == [2, 5, 7]
    assert history.final is not None
    assert history.final.samples == 16


def test_running_dry_and_divergence_are_outcomes() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match="iterator"):
        history = sc.train(model, optimizer, F.cross_entropy, iter(make_batches(3)), sc.constant(9, lr=0.1))
    assert (history.stop, len(history)) == (sc.StopReason.batches_exhausted, 3)
    assert history.stop.remedy
    bad = make_batches(3)
    bad[1][0][0, 0] = math.nan
    model = make_model(norm=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = sc.train(model, optimizer, F.cross_entropy, bad, sc.constant(9, lr=0.1))
    assert (history.stop, len(history)) == (sc.StopReason.diverged, 2)


def test_overflowing_fp16_updates_do_not_advance_the_schedule() -> None:  # pitfall 28
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = make_batches()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=1000)
    state = sc.TrainState(model, optimizer, batches, scaler=scaler)
    with pytest.warns(UserWarning, match="fp16"):
        records = list(
            sc.train_steps(
                model, optimizer, F.cross_entropy, batches, sc.constant(4, lr=0.1), precision="fp16", state=state
            )
        )
    assert sum(r.skipped for r in records) > 3
    assert [r.step for r in records if not r.skipped] == [0, 1, 2, 3]
    assert state.stop is sc.StopReason.completed


def test_gradients_that_never_become_finite_end_the_training() -> None:
    model = make_model(norm=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [(torch.full((2, 6), math.nan), torch.zeros(2, dtype=torch.long))]
    state = sc.TrainState(model, optimizer, batches, scaler=torch.amp.GradScaler("cpu"))
    for _ in sc.train_steps(model, optimizer, F.cross_entropy, batches, sc.constant(4, lr=0.1), state=state):
        pass
    assert state.stop is sc.StopReason.diverged
    assert state.step == 0


def test_bad_arguments_and_batches_are_named() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def run(batches: object = None, loss: object = F.cross_entropy, **options: object) -> None:
        sc.train(model, optimizer, loss, batches or make_batches(), sc.constant(2, lr=0.1), **options)

    for options, words in [
        ({"accumulation_steps": 0}, "accumulation_steps must be at least 1, got 0"),
        ({"evaluate_every": 0}, "evaluate_every"),
        ({"evaluate_every": 1}, "evaluate_every=1 would be ignored without eval_batches"),
        ({"clip_grad_norm": -1.0}, "clip_grad_norm must be positive"),
        ({"evaluate_with": "bacth"}, "'batch'"),
        ({"precision": "fp17"}, "fp16"),
        ({"eval_batches": []}, "evaluation data is empty"),
        ({"batches": []}, "nothing"),
        ({"batches": [torch.ones(2, 6)]}, "pair"),
        ({"loss": lambda o, t: F.cross_entropy(o, t, reduction="none")}, "one number"),
    ]:
        if options.get("batches") == []:
            with pytest.raises(ValueError, match=words):
                sc.train(model, optimizer, F.cross_entropy, [], sc.constant(2, lr=0.1))
            continue
        with pytest.raises(ValueError, match=words):
            run(**options)


def test_inputs_by_tuple_mapping_and_split() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.layer(left - right)

    finals = []
    for form in (lambda x: (x, 0 * x), lambda x: {"right": 0 * x, "left": x}):
        torch.manual_seed(0)
        model = Two()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batches = [{"x": x, "y": y} for x, y in make_batches()]
        split = lambda batch, form=form: (form(batch["x"]), batch["y"])  # noqa: E731
        sc.train(model, optimizer, F.cross_entropy, batches, sc.constant(3, lr=0.1), split=split, eval_batches=batches)
        finals.append(weights(model))
    assert torch.equal(*finals)


def test_learns_a_separable_task() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 6, generator=generator)
    targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()
    batches = list(zip(inputs.split(32), targets.split(32), strict=True))
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    history = sc.train(model, optimizer, F.cross_entropy, batches, sc.one_cycle(120, max_lr=0.5), eval_batches=batches)
    assert history.final is not None
    assert history.final.metric > 0.95
    assert copy.deepcopy(history) == history


def test_a_state_gets_the_scaler_that_the_precision_needs_and_its_own_batches() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = make_batches()
    state = sc.TrainState(model, optimizer, batches)
    with pytest.warns(UserWarning, match="fp16"):
        sc.train(model, optimizer, F.cross_entropy, batches, sc.constant(2, lr=0.1), precision="fp16", state=state)
    assert state.scaler is not None
    assert state.scaler.get_scale() > 1
    with pytest.raises(ValueError, match="made with other batches"):
        sc.train(model, optimizer, F.cross_entropy, make_batches(), sc.constant(4, lr=0.1), state=state)


def test_a_metric_that_does_not_fit_is_found_before_the_first_update() -> None:
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [(x, y[:, None].float()) for x, y in make_batches()]
    before = weights(model)
    for wrong, words in [("accuracy", "metric 'accuracy'"), (lambda o, t: o[:3], "one value per sample")]:
        with pytest.raises(ValueError, match=words):
            sc.train(model, optimizer, F.mse_loss, batches, sc.constant(2, lr=0.1), eval_batches=batches, metric=wrong)
    assert torch.equal(weights(model), before)
    assert sc.train(
        model, optimizer, F.mse_loss, batches, sc.constant(2, lr=0.1), eval_batches=batches, metric=None
    ).final


def test_trying_the_metric_changes_nothing_of_the_training() -> None:
    results = []
    for try_metric in (True, False):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        data = torch.utils.data.TensorDataset(*map(torch.cat, zip(*make_batches(), strict=True)))
        loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)  # from the global random state
        evaluated = sc.data.Batches(data, 8, seed=0)
        iter_position = next(iter(evaluated))[0]
        history = sc.train(
            model, optimizer, F.cross_entropy, loader, sc.constant(5, lr=0.1), eval_batches=evaluated,
            evaluate_every=2, try_metric=try_metric,
        )  # fmt: skip
        buffers = [buffer.double().flatten() for buffer in model.buffers()]
        results.append(torch.cat([weights(model), *buffers, torch.tensor(history.loss), iter_position.flatten()]))
        results[-1] = torch.cat([results[-1], torch.tensor([e.loss for _, e in history.evaluations]), torch.rand(3)])
    assert torch.equal(*results)


def test_an_iterator_serves_for_one_evaluation_only() -> None:
    def run(**options: object) -> sc.History:
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return sc.train(model, optimizer, F.cross_entropy, make_batches(), sc.constant(4, lr=0.1), **options)

    with pytest.raises(ValueError, match=r"eval_batches is an iterator .*but 2 evaluations will be made"):
        run(eval_batches=iter(make_batches()), evaluate_every=3)
    once = run(eval_batches=iter(make_batches()))
    assert once.evaluations == run(eval_batches=make_batches()).evaluations
    assert once.final is not None
    assert once.final.samples == 32


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        (lambda loss: (loss, 1), r"got a tuple; pick it: loss_fn=lambda outputs, targets: f\(outputs, targets\)\[0\]"),
        (lambda loss: {"aux": 0, "loss": loss}, r"got a dict; pick it: .*\['loss'\]"),
        (lambda loss: {"total": loss}, r"got a dict; pick it: .*\['total'\]"),
    ],
)
def test_a_loss_of_several_values_is_to_be_picked(pack, words: str) -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> object:
        return pack(F.cross_entropy(outputs, targets))

    with pytest.raises(ValueError, match=words):
        sc.train(model, optimizer, loss_fn, make_batches(), sc.constant(2, lr=0.1))
    with pytest.raises(ValueError, match=words):
        sc.evaluate(model, make_batches(), loss_fn)


def test_a_loss_that_is_none_and_an_optimizer_with_a_closure_are_refused() -> None:
    model = make_model()
    with pytest.raises(TypeError, match=r"loss_fn must be a function .*got None"):
        sc.train(model, torch.optim.SGD(model.parameters(), lr=0.1), None, make_batches(), sc.constant(2, lr=0.1))
    with pytest.raises(ValueError, match=r"got LBFGS, whose step.* needs a closure"):
        sc.train(model, torch.optim.LBFGS(model.parameters()), F.cross_entropy, make_batches(), sc.constant(2, lr=0.1))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"accumulation_steps": "2"}, "accumulation_steps must be a whole number.*got '2'"),
        ({"evaluate_every": "5"}, "evaluate_every must be a whole number.*got '5'"),
        ({"clip_grad_norm": "1"}, "clip_grad_norm must be a positive number or None, got '1'"),
    ],
)
def test_options_of_another_kind_are_named(option: dict, words: str) -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=words):
        sc.train(model, optimizer, F.cross_entropy, make_batches(), sc.constant(2, lr=0.1), **option)


class Validated(nn.Module):
    """Counts updates in training mode, of the whole and of a part that was frozen on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.frozen, self.modes = nn.Linear(5, 2), nn.BatchNorm1d(5), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append((self.training, self.layer.training, self.frozen.training))
        return self.layer(self.frozen(x))


def test_a_validation_that_leaves_evaluation_mode_behind_does_not_stop_training() -> None:
    model = Validated()
    batches = [(torch.randn(6, 5), torch.zeros(6, dtype=torch.long))] * 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for record in sc.train_steps(model, optimizer, F.cross_entropy, batches, sc.constant(8, lr=0.1)):
        if record.step == 1:
            model.frozen.eval()  # on purpose
        if record.step in (3, 5):
            model.eval()  # validate(model), and no train()
    assert model.modes == [(True, True, step < 2) for step in range(8)]


def test_an_optimizer_that_gets_no_gradients_is_refused_before_anything_moves() -> None:
    model, other = nn.Linear(5, 2), nn.Linear(5, 2)
    batches = [(torch.randn(6, 5), torch.zeros(6, dtype=torch.long))]
    own = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    with pytest.raises(ValueError, match="no parameter of the optimizer got a gradient: the loss does not depend"):
        sc.train(model, own, F.cross_entropy, batches, sc.constant(3, lr=0.1))
    assert own.state == {}


@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss(reduction="none")])
def test_losses_that_are_no_means_are_refused_where_batches_are_put_together(loss_fn: nn.Module) -> None:
    model = nn.Linear(5, 2)
    batches = [(torch.randn(6, 5), torch.zeros(6, dtype=torch.long))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="an evaluation weights the mean losses of batches: pass 'mean'"):
        sc.evaluate(model, batches, loss_fn)
    with pytest.raises(ValueError, match="accumulation weights the mean losses"):
        sc.train(model, optimizer, loss_fn, batches, sc.constant(2, lr=0.1), accumulation_steps=2)
    if loss_fn.reduction == "sum":  # of equal batches, one by one, a matter of the learning rate
        assert len(sc.train(model, optimizer, loss_fn, batches, sc.constant(2, lr=0.1)).loss) == 2


def test_one_parameter_with_a_gradient_is_enough() -> None:
    """The others may get theirs later: experts that no sample was sent to, say."""
    model = nn.ModuleList([nn.Linear(5, 2), nn.Linear(5, 2)])
    model.forward = lambda x: model[1](x)  # type: ignore[method-assign]
    batches = [(torch.randn(6, 5), torch.zeros(6, dtype=torch.long))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert len(sc.train(model, optimizer, F.cross_entropy, batches, sc.constant(3, lr=0.1)).loss) == 3
