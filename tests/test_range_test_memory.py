"""What a range test holds in memory, where its copy waits, and what it says when memory runs out."""

import gc
import resource
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from program import TOY_TASK, Run
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import superconv as sc
from superconv.full_memory import is_out_of_memory
from superconv.restore.copies import Copies
from superconv.restore.preserve import preserved
from superconv.runs import RunError
from superconv.training.out_of_memory import OutOfMemory, first

WIDTH = 307  # that no other tensor here has
WEIGHT_BYTES = 4 * WIDTH * WIDTH

Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(autouse=True)
def quick_collections() -> Iterator[None]:
    """What was alive before a test is left out of collections, and of the search for tensors."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def make(momentum: bool = True) -> tuple[nn.Module, torch.optim.Optimizer, Batches]:
    torch.manual_seed(0)
    layers = [nn.Linear(6, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH, bias=False), nn.ReLU(), nn.Linear(WIDTH, 3)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9 if momentum else 0.0)
    batches = [(torch.randn(16, 6), torch.randint(3, (16,))) for _ in range(4)]
    if momentum:
        F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer, batches


def square_storages() -> int:
    """How many different pieces of memory of the size of the square weight are alive as tensors."""
    tensors = (each for each in gc.get_objects() if issubclass(type(each), torch.Tensor))
    pieces = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    return Counter(pieces.values())[WEIGHT_BYTES]


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"end_lr": 1.0}, 1),
        ({}, 1),  # a scout
        ({"reference_lr": "grid", "total_steps": 20}, 1),
        ({"forks": 2, "end_lr": 1.0, "total_steps": 20}, 2),  # the start, and where the fork left the ramp
        ({"forks": 2, "reference_lr": "grid", "keep_copy_on": "disk", "total_steps": 20}, 0),
    ],
)
@pytest.mark.parametrize("momentum", [True, False])
def test_one_extra_copy_of_parameters_and_optimizer_state(options: dict[str, Any], most: int, momentum: bool) -> None:
    model, optimizer, batches = make(momentum)
    gc.collect()
    state = 1 + momentum
    assert square_storages() == state
    seen: set[int] = set()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if outputs.requires_grad:  # before the backward pass: there are no gradients
            seen.add(square_storages())
        return F.cross_entropy(outputs, targets)

    sc.lr_range_test(model, optimizer, loss, batches, eval_batches=batches[:1], **options)
    assert max(seen) == state * (1 + most)
    gc.collect()
    assert square_storages() == state


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    states = [value for each in optimizer.state.values() for value in each.values() if value is not None]
    return [tensor.tolist() for tensor in (*model.parameters(), *states)]


@pytest.mark.parametrize("where", ["disk", "cpu", None])
def test_the_copy_may_wait_anywhere_and_is_exact(where: str | None, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model, optimizer, _ = make()
    whole = torch.randn(2, 6)
    model.register_buffer("part", whole[1])  # a view, of whose storage the copy needs only this
    model.double()
    before = everything(model, optimizer)
    with preserved(model, optimizer, keep_copy_on=where) as rewind:
        for _ in range(2):
            model[2].weight.data.zero_()
            for state in optimizer.state.values():
                state["momentum_buffer"].add_(1)
            rewind()
            assert everything(model, optimizer) == before
        model[2].weight.data.fill_(7)
        assert list(tmp_path.glob("superconv-*")) == []  # a file without a name: nothing to leave behind
    assert everything(model, optimizer) == before


@pytest.mark.parametrize("where", ["disk", None])
def test_range_tests_are_the_same_wherever_the_copy_is(where: str | None) -> None:
    curves = []
    for place in (None, where):
        model, optimizer, batches = make()
        ramp = sc.lr_range_test(
            model, optimizer, F.cross_entropy, batches, forks=2, eval_batches=batches, keep_copy_on=place, seed=1
        )
        curves.append((ramp.train_loss.tolist(), [fork.loss for fork in ramp.forks], everything(model, optimizer)))
    assert str(curves[0]) == str(curves[1])


def test_rewinding_leaves_the_gradient_that_was_there_alone() -> None:
    model = nn.Linear(3, 2)
    model.weight.grad = gradient = torch.ones(2, 3)
    with preserved(model) as rewind:
        for _ in range(2):
            model(torch.ones(1, 3)).sum().backward()  # into the block's own copy
            assert model.weight.grad is not gradient
            rewind()
            assert torch.equal(model.weight.grad, torch.ones(2, 3))
    assert model.weight.grad is gradient
    assert torch.equal(gradient, torch.ones(2, 3))


@pytest.mark.parametrize("room", [0, 1000])
def test_a_full_disk_changes_nothing_and_says_what_to_do(room: int) -> None:
    """Also where the content is small: a buffer's, refused, came again when the file was read or closed."""
    model, optimizer, batches = make()
    before = everything(model, optimizer)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # what a full disk is like, without one
    try:
        with pytest.raises(OSError, match=r"cannot be kept on disk.*TMPDIR"):
            sc.lr_range_test(model, optimizer, F.cross_entropy, batches, keep_copy_on="disk")
        with (
            pytest.raises(OSError, match=r"cannot be kept on disk.*TMPDIR"),
            preserved(nn.Linear(3, 2), keep_copy_on="disk"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything(model, optimizer) == before


def test_a_place_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="keep_copy_on is 'dsk'; give a device such as 'cpu', 'disk'"):
        Copies("dsk")


# ---- out of memory -------------------------------------------------------------------------------------------------


class Device:
    """A loss on a device whose memory holds batches of `largest`; counts what it is asked for."""

    def __init__(self, largest: int, error: Any = torch.OutOfMemoryError, from_call: int = 0) -> None:
        self.largest, self.error, self.from_call = largest, error, from_call
        self.asked: list[int] = []

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(targets))
        if len(targets) > self.largest and len(self.asked) > self.from_call:
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return F.cross_entropy(outputs, targets)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
@pytest.mark.parametrize("from_call", [0, 5])
@pytest.mark.parametrize(
    ("largest", "words"),
    [
        (5, "a batch of 16 does not fit, 4 does .*use batch size 4, with 4 accumulation steps"),
        (8, "use batch size 8, with 2 accumulation steps"),
        (1, "use batch size 1, with 16 accumulation steps"),
        (0, "not even one sample fits"),
    ],
)
def test_the_batch_size_that_fits_is_named_and_everything_is_back(
    largest: int, words: str, from_call: int, error: type[RuntimeError]
) -> None:
    model, optimizer, batches = make()
    before = everything(model, optimizer)
    device = Device(largest, error, from_call)
    with pytest.raises(OutOfMemory, match=words) as raised:
        sc.lr_range_test(model, optimizer, device, batches, forks=1, seed=0)
    assert everything(model, optimizer) == before
    assert isinstance(raised.value, torch.OutOfMemoryError)  # for those who catch torch's own
    assert isinstance(raised.value, ValueError)  # one sentence on the command line


def test_what_is_not_the_batch_is_told_apart() -> None:
    model, optimizer, batches = make()
    wide = [(torch.randn(64, 6), torch.randint(3, (64,)))]

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(targets) == 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return F.cross_entropy(outputs, targets)

    with pytest.raises(OutOfMemory, match=r"one update of 16 samples alone fits.*smaller evaluation batches"):
        sc.lr_range_test(model, optimizer, loss, batches, eval_batches=wide)


def test_an_iterator_gives_no_batch_to_try() -> None:
    model, optimizer, batches = make()
    with pytest.warns(UserWarning, match="iterator"), pytest.raises(OutOfMemory, match="use a smaller batch size"):
        sc.lr_range_test(model, optimizer, Device(3), iter(batches))


def test_a_batch_that_cannot_be_cut_is_not_tried() -> None:
    model, optimizer, _ = make()
    packed = pack_sequence([torch.randn(6) for _ in range(16)])
    batches = [({"input": packed}, torch.randint(3, (16,)))]
    with pytest.raises(OutOfMemory, match="use a smaller batch size"):
        sc.lr_range_test(Unpacked(model), optimizer, Device(3), batches)


class Unpacked(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input: PackedSequence) -> torch.Tensor:
        return self.model(input.data.reshape(-1, 6))


def test_the_failed_steps_activations_are_gone_before_another_size_is_tried() -> None:
    model, optimizer, batches = make()
    alive: list[int] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        marks = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor) and each.shape == (11, 13)]
        alive.append(len(marks))
        mark = torch.zeros(11, 13)
        if len(targets) > 4:
            raise torch.OutOfMemoryError("injected")
        return F.cross_entropy(outputs, targets) + mark.sum()

    with pytest.raises(OutOfMemory, match="use batch size 4"):
        sc.lr_range_test(model, optimizer, loss, batches)
    assert alive == [0] * len(alive)


def test_other_errors_pass_as_they_are() -> None:
    model, optimizer, batches = make()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit") as raised:
        sc.lr_range_test(model, optimizer, loss, batches)
    assert not isinstance(raised.value, OutOfMemory)
    assert not is_out_of_memory(raised.value)
    assert not is_out_of_memory(RunError("can't allocate memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))  # by CUDA itself, before torch's allocator


def test_the_first_samples_of_any_batch() -> None:
    batch = {"ids": torch.arange(6).reshape(3, 2), "scale": torch.tensor(2.0), "pair": [torch.arange(3), "name"]}
    part = first(batch, 2, 3)
    assert part["ids"].tolist() == [[0, 1], [2, 3]]
    assert (float(part["scale"]), part["pair"][0].tolist(), part["pair"][1]) == (2.0, [0, 1], "name")


def test_the_program_keeps_the_copy_where_it_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(TOY_TASK)
    command = ("range-test", "--task", f"{tmp_path / 'toy.py'}:make", "--batch-size", "32", "--seeds", "1", "--json")
    command += ("--steps", "10", "--forks", "1", "--reference-lr", "none")
    files, real = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **o: files.append(1) or real(**o))
    _, first, _ = run(*command, "--runs-dir", "a")
    assert files == []
    _, second, _ = run(*command, "--runs-dir", "b", "--snapshot", "disk")
    assert files
    assert first == second.replace('"b/', '"a/')  # the run's identity too
    code, _, err = run(*command, "--snapshot", "tape")
    assert (code, "--snapshot must be device, cpu or disk, got 'tape'" in err) == (2, True)
