"""A model that shares tensors with an earlier run's is refused where they have changed since, and nowhere else."""

import copy
import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import superconv as sc
from superconv.experiments.config import Arm
from superconv.experiments.runner import run_arm
from superconv.task import handed_out
from superconv.task.handed_out import HandedOut, _sum

INPUTS = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
PART = INPUTS, (INPUTS[:, 0] > 0).long()
SPLITS = sc.Splits(PART, PART, PART, 2)


@pytest.fixture(autouse=True)
def _nothing_was_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed_out, "_OF_NAMES", {})


def backbone() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU())


def frozen(whole: bool) -> nn.Module:
    module = backbone().requires_grad_(False)
    return module.eval() if whole else module


def reset(module: nn.Module) -> None:
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()


class Counts(nn.Module):
    """A shared table that is written in the forward pass, whatever requires_grad says."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.table.data.add_(1.0)  # counts as no write for autograd
        return self.head(x)


def of_one_module() -> Callable[[], nn.Module]:
    net = nn.Linear(6, 2)
    return lambda: net


def of_a_backbone() -> Callable[[], nn.Module]:
    shared = backbone()
    return lambda: nn.Sequential(shared, nn.Linear(4, 2))


def of_a_shallow_copy() -> Callable[[], nn.Module]:
    net = nn.Sequential(nn.Linear(6, 2))
    return lambda: copy.copy(net)


def of_a_frozen_backbone_whose_statistics_move() -> Callable[[], nn.Module]:
    shared = frozen(whole=False)
    return lambda: nn.Sequential(shared, nn.Linear(4, 2))


def of_a_table_that_is_written() -> Callable[[], nn.Module]:
    table = torch.zeros(3)
    return lambda: Counts(table)


def of_a_lazy_layer() -> Callable[[], nn.Module]:
    layer = nn.LazyLinear(2)

    def model() -> nn.Module:
        layer(INPUTS)
        return nn.Sequential(layer)

    return model


SHARING = [
    of_one_module,
    of_a_backbone,
    of_a_shallow_copy,
    of_a_frozen_backbone_whose_statistics_move,
    of_a_table_that_is_written,
    of_a_lazy_layer,
]


def run(model: Callable[[], nn.Module], seed: int, root: Path, name: str = "shared") -> dict:
    task = sc.Task(name, model, SPLITS)
    arm = Arm("a", sc.constant(6, lr=0.1), batch_size=20)
    summary = run_arm(task, arm, seed, root=root, device="cpu", monitoring=None).summary
    assert summary is not None
    return {**summary, "seconds": 0}


@pytest.mark.parametrize("make", SHARING)
def test_a_second_run_that_would_go_on_where_the_first_ended_is_refused(tmp_path: Path, make: Callable) -> None:
    model = make()
    run(model, 0, tmp_path)
    gc.collect()
    with pytest.raises(ValueError, match=r"task 'shared': model\(\) returned '.*' as what came before has left"):
        run(model, 1, tmp_path)  # of a task that was made anew, of the same name


@pytest.mark.parametrize("make", SHARING)
def test_a_tensor_that_moved_to_other_memory_in_between_is_still_known(make: Callable) -> None:
    """As `model.to("cuda")` does: parameters get other memory, buffers are other tensors."""
    task = sc.Task("shared", make(), SPLITS)
    model = task.build_model(0)
    with torch.no_grad():
        for part in model.modules():
            for parameter in part._parameters.values():
                if parameter is not None:
                    parameter.data = parameter.data.clone()
            for name, buffer in part._buffers.items():
                part._buffers[name] = None if buffer is None else buffer.clone()
    if make is of_a_table_that_is_written:
        return  # what is shared stayed behind, untouched
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    F.cross_entropy(model.train()(INPUTS), PART[1]).backward()
    optimizer.step()
    del model
    gc.collect()
    with pytest.raises(ValueError, match="as what came before has left it"):
        task.build_model(1)


def fresh() -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(backbone(), nn.Linear(4, 2))


def copies() -> Callable[[], nn.Module]:
    shared = backbone()
    return lambda: nn.Sequential(copy.deepcopy(shared), nn.Linear(4, 2))


def of_a_frozen_backbone() -> Callable[[], nn.Module]:
    shared = frozen(whole=True)
    return lambda: nn.Sequential(shared, nn.Linear(4, 2))


def made_anew_in_place() -> Callable[[], nn.Module]:
    net = nn.Sequential(backbone(), nn.Linear(4, 2))

    def model() -> nn.Module:
        net.apply(reset)
        return net

    return model


def put_back_in_place() -> Callable[[], nn.Module]:
    net = nn.Sequential(backbone(), nn.Linear(4, 2))
    state = copy.deepcopy(net.state_dict())

    def model() -> nn.Module:
        net.load_state_dict(state)
        return net

    return model


@pytest.mark.parametrize("make", [fresh, copies, of_a_frozen_backbone, made_anew_in_place, put_back_in_place])
def test_runs_of_what_does_not_carry_on_are_as_if_alone(tmp_path: Path, make: Callable) -> None:
    alone = [run(make(), seed, tmp_path / f"{seed}", f"alone {seed}") for seed in (0, 1, 2)]
    model = make()
    sc.Task("shared", model, SPLITS).build_model(1)  # looked at before
    assert [run(model, seed, tmp_path / "all") for seed in (0, 1, 2)] == alone
    for _ in range(2):  # the same seed again, nothing trained in between
        sc.Task("shared", model, SPLITS).build_model(2)


def test_a_range_test_between_leaves_no_trace() -> None:
    model = made_anew_in_place()
    task = sc.Task("shared", model, SPLITS)
    for seed in (0, 1, 1):
        net = task.build_model(seed)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        sc.lr_range_test(net, optimizer, F.cross_entropy, [PART] * 3, start_lr=0.01, end_lr=0.1, total_steps=3)


def test_other_tasks_may_go_on_with_what_one_has_trained(tmp_path: Path) -> None:
    shared = backbone()
    run(lambda: nn.Sequential(shared, nn.Linear(4, 2)), 0, tmp_path, "first")
    run(lambda: nn.Sequential(shared, nn.Linear(4, 2)), 0, tmp_path, "second")


def test_what_is_gone_is_forgotten() -> None:
    known = HandedOut()
    for _ in range(3):
        before = known.now()
        model = backbone()
        assert known.changed(model, before) is None
        del model
        gc.collect()
    assert known.now() == {}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_content_has_one_sum_wherever_and_however_it_lies() -> None:
    picture = torch.randn(2, 3, 4, 5)
    assert _sum(picture) == _sum(picture.contiguous(memory_format=torch.channels_last)) == _sum(nn.Parameter(picture))
    assert _sum(picture[..., ::2]) == _sum(picture[..., ::2].contiguous())
    assert _sum(torch.tensor([1.0, 2.0])) != _sum(torch.tensor([2.0, 1.0]))
    large = torch.zeros(2**20 + 3)
    before = _sum(large)
    large[-1] = 1e-30
    assert _sum(large) != before
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float64, torch.complex64):
        assert _sum(torch.ones(3).to(dtype)) != _sum(torch.zeros(3).to(dtype))
    sparse = torch.eye(3).to_sparse()
    assert _sum(sparse) == _sum(sparse.clone()) != _sum(2 * sparse)
    assert _sum(torch.eye(3).to_sparse_csr()) != _sum(2 * torch.eye(3).to_sparse_csr())
    assert _sum(torch.ones(2, device="meta")) == 0


def test_an_error_of_the_function_names_the_task() -> None:
    def model() -> nn.Module:
        raise KeyError("width")

    words = r"task 'odd': model\(\) failed with KeyError: 'width' \(line \d+ of test_handed_out.py\)"
    with pytest.raises(ValueError, match=words) as caught:
        sc.Task("odd", model, SPLITS).build_model(0)
    assert isinstance(caught.value.__cause__, KeyError)

    def memory() -> nn.Module:
        raise torch.OutOfMemoryError("too large")

    with pytest.raises(torch.OutOfMemoryError):
        sc.Task("odd", memory, SPLITS).build_model(0)
