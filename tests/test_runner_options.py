"""Every option of an arm acts: the runner against the same training written out."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_runner import Acting, make_arm, make_part, outcome, rows_of
from torch import nn
from torch.utils.data import Dataset

import superconv as sc
from superconv.data import Batches
from superconv.experiments.config import Arm
from superconv.experiments.runner import run_arm
from superconv.models import set_averaging_fraction
from superconv.training.optimizers import build_optimizer
from superconv.training.precision import to_channels_last


def image_part(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 2, 5, 5, generator=generator)
    return inputs, (inputs.mean(dim=(1, 2, 3)) > 0).long()


def image_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))


def image_task() -> sc.Task:
    return sc.Task("images", image_net, sc.Splits(image_part(90, 1), image_part(30, 2), image_part(30, 3), 2))


def written_out(task: sc.Task, arm: Arm, seed: int) -> sc.History:
    """The training that an arm describes, part by part."""
    torch.manual_seed(seed)
    model = task.build_model(seed)
    if arm.averaging_fraction is not None:
        set_averaging_fraction(model, arm.averaging_fraction)
    if arm.channels_last:
        to_channels_last(model)
    train = task.data.train if arm.train_samples is None else task.data.subset(arm.train_samples, 0).train
    batches = Batches(train, arm.batch_size, seed=seed, channels_last=bool(arm.channels_last))
    options = {"momentum": 0.95, **arm.optimizer_options}
    optimizer = build_optimizer(arm.optimizer, model, lr=0.5, **options)
    return sc.train(
        model,
        optimizer,
        lambda o, t: F.cross_entropy(o, t, label_smoothing=arm.label_smoothing),
        batches,
        arm.schedule,
        accumulation_steps=arm.accumulation_steps,
        precision=arm.precision,
        clip_grad_norm=arm.clip_grad_norm,
        eval_batches=Batches.for_evaluation(task.data.validation, channels_last=bool(arm.channels_last)),
        evaluate_every=arm.evaluate_every or arm.schedule.total_steps // 10,
        evaluate_with=arm.evaluate_with,
    )


@pytest.fixture
def warned(request: pytest.FixtureRequest) -> Iterator[None]:
    """Half precision on a CPU is slow, and says so."""
    if request.node.callspec.params["changes"].get("precision") != "bf16":
        yield
        return
    with pytest.warns(UserWarning, match="slower"):
        yield


@pytest.mark.usefixtures("warned")
@pytest.mark.parametrize(
    "changes",
    [
        {"label_smoothing": 0.2},
        {"averaging_fraction": 0.2},
        {"train_samples": 30},
        {"accumulation_steps": 3},
        {"clip_grad_norm": 0.1},
        {"precision": "bf16"},
        {"channels_last": False},
        {"evaluate_with": "batch"},
        {"evaluate_with": "reestimated"},
        {"evaluate_every": None},
        {"optimizer": "nesterov"},
        {"optimizer": "adamw", "optimizer_options": {"weight_decay": 0.1}},
        {"optimizer_options": {"momentum": 0.5, "weight_decay": 0.1, "norm_weight_decay": 0.0}},
    ],
    ids=str,
)
def test_options_act_as_in_the_training_written_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    task, steps = image_task(), 20
    default = run_arm(task, make_arm(steps=steps, channels_last=True), 0, root=tmp_path, device="cpu")
    arm = make_arm(steps=steps, **{"channels_last": True, **changes})
    result = run_arm(task, arm, 0, root=tmp_path, device="cpu")
    history = written_out(task, arm, 0)
    rows = rows_of(result.path)
    assert [row["loss"] for row in rows if "loss" in row] == list(history.loss)
    evaluations = [(row["step"], row["eval_loss"], row["evaluate_with"]) for row in rows if "metric" in row]
    assert evaluations == [(step, e.loss, arm.evaluate_with) for step, e in history.evaluations]
    assert result.summary is not None
    assert history.final is not None
    assert result.summary["validation"]["loss"] == history.final.loss
    assert result.path != default.path
    if changes != {"channels_last": False}:  # which is to change nothing but the memory
        assert rows != rows_of(default.path)


@pytest.mark.parametrize("wanted", [True, False, None])
def test_the_memory_format_is_the_one_asked_for(tmp_path: Path, wanted: bool | None) -> None:
    seen: list[bool] = []

    class Looking(nn.Conv2d):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            fits = [each.is_contiguous(memory_format=torch.channels_last) for each in (inputs, self.weight)]
            assert fits[0] == fits[1]
            seen.append(fits[0])
            return super().forward(inputs)

    def net() -> nn.Module:
        return nn.Sequential(Looking(2, 4, 3), nn.Flatten(), nn.Linear(36, 2))

    task = sc.Task("images", net, image_task().data)
    run_arm(task, make_arm(steps=4, channels_last=wanted), 0, root=tmp_path, device="cpu")
    assert set(seen) == {wanted is not False}  # convolutions are faster with channels last


def test_batch_norm_of_parts_keeps_the_default_format(tmp_path: Path) -> None:
    """In channels_last the parts are no view, and take a pass each."""
    seen: list[bool] = []

    class Looking(sc.models.NormalisedBatchNorm2d):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(inputs.is_contiguous() and not inputs.is_contiguous(memory_format=torch.channels_last))
            return super().forward(inputs)

    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 4, 3), Looking(4), nn.Flatten(), nn.Linear(36, 2))

    task = sc.Task("images", net, image_task().data)
    for statistics_of, default in ((5, True), (16, False), (None, False)):
        run_arm(task, make_arm(steps=4, batch_size=16, statistics_of=statistics_of), 0, root=tmp_path, device="cpu")
        assert set(seen) == {default}
        seen.clear()


def test_evaluation_batches_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counting(nn.Flatten):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            sizes.append(len(inputs))
            return super().forward(inputs)

    task = sc.Task("images", lambda: nn.Sequential(Counting(), nn.Linear(50, 2)), image_task().data)
    arm = make_arm(steps=4, batch_size=16, evaluation_batch_size=7)
    run_arm(task, arm, 0, root=tmp_path, device="cpu")
    assert set(sizes) == {16, 7, 30 % 7}
    assert "evaluation_batch_size" not in make_arm(steps=4).to_dict(), "older runs keep their identity"
    with pytest.raises(ValueError, match="evaluation_batch_size must be at least 1, got 0"):
        make_arm(steps=4, evaluation_batch_size=0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_trains_alike_and_resumes(tmp_path: Path) -> None:
    task = image_task()
    plain = run_arm(task, make_arm(steps=20), 0, root=tmp_path, device="cpu")
    compiled = run_arm(task, make_arm(steps=20, compile=True), 0, root=tmp_path, device="cpu")
    assert plain.path != compiled.path
    losses = [[row["loss"] for row in rows_of(each.path) if "loss" in row] for each in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    stop = Acting(8, lambda: None)
    stop.action = lambda: setattr(stop, "_signalled", True)
    for each in (stop, None):
        resumed = run_arm(task, make_arm(steps=20, compile=True), 0, root=tmp_path / "again", device="cpu", stop=each)
    assert outcome(resumed.path) == outcome(compiled.path)


def test_a_task_of_ones_own_with_tensors_and_a_split(tmp_path: Path) -> None:
    class Rows(Dataset):
        def __init__(self, part: tuple[torch.Tensor, torch.Tensor]) -> None:
            self.part = part

        def __len__(self) -> int:
            return len(self.part[0])

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"x": self.part[0][index], "y": self.part[1][index].float()}

    splits = sc.Splits(Rows(make_part(90, 1)), Rows(make_part(30, 2)), Rows(make_part(30, 3)), 1)
    task = sc.Task(
        "regression",
        lambda: nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)),
        splits,
        loss=F.mse_loss,
        metric="loss",
        higher_is_better=False,
        split=lambda batch: (batch["x"], batch["y"]),
    )
    result = run_arm(task, make_arm(max_lr=0.05), 0, root=tmp_path, device="cpu")
    assert result.summary is not None
    assert result.summary["test"]["metric"] == result.summary["test"]["loss"] < 0.4


def test_statistics_of_acts_and_leaves_older_runs_their_identity(tmp_path: Path) -> None:
    schedule = sc.one_cycle(6, max_lr=0.5)
    task = sc.Task("images", own_image_net, image_task().data)
    plain, grouped = Arm("a", schedule, batch_size=20), Arm("a", schedule, batch_size=20, statistics_of=5)
    assert "statistics_of" not in plain.to_dict()
    assert grouped.to_dict()["statistics_of"] == 5
    losses = [run_arm(task, arm, 0, root=tmp_path).summary["test"]["loss"] for arm in (plain, grouped)]
    assert losses[0] != losses[1]
    no_norm = sc.Task("flat", lambda: nn.Sequential(nn.Flatten(), nn.Linear(50, 2)), image_task().data)
    with pytest.raises(ValueError, match="the model has no BatchNorm"):
        run_arm(no_norm, grouped, 0, root=tmp_path)


def own_image_net() -> nn.Module:
    norm = sc.models.NormalisedBatchNorm2d(4)
    return nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
