import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch

import superconv.runs.lock
from superconv.runs import (
    RunError,
    RunLocked,
    atomic_write,
    environment,
    find_runs,
    open_run,
    read_rows,
    state_of,
)
from superconv.runs.environment import git_revision
from superconv.runs.lock import FolderLock
from superconv.runs.rows import RowLog

CONFIG = {"lr": 3.0, "model": "lenet"}


def opened(root, **changes):
    return open_run(root, "demo", "one_cycle", 0, {**CONFIG, **changes}, {"torch": "2.13"})


def python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


# ---- a run's life ---------------------------------------------------------------------------------


def test_a_run_is_written_found_and_skipped(tmp_path):
    run = opened(tmp_path)
    assert run.path.parent == tmp_path / "demo" / "one_cycle"
    assert run.path.name.startswith("seed0-")
    assert (run.state, state_of(run.path), state_of(tmp_path / "nothing")) == ("unfinished", "unfinished", "absent")
    with run:
        for step in range(3):
            run.append({"step": step, "loss": np.float32(0.5), "accuracy": float("nan")})
        assert len(run.rows()) == 3  # those in the buffer too
        run.finish({"accuracy": np.float64(0.9)})
    again = opened(tmp_path)
    assert (again.path, again.state, again.summary()) == (run.path, "finished", {"accuracy": 0.9})
    assert again.rows()[2] == {"step": 2, "loss": 0.5, "accuracy": None}
    (found,) = find_runs(tmp_path)
    assert (found.experiment, found.arm, found.seed, found.state) == ("demo", "one_cycle", 0, "finished")
    assert (found.config, found.info, found.summary) == (CONFIG, {"torch": "2.13"}, {"accuracy": 0.9})
    assert found.rows() == again.rows()


def test_a_finished_run_refuses_everything_that_would_change_it(tmp_path):
    with opened(tmp_path) as run:
        run.append({"step": 0})
        run.finish({})
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    for change in (
        lambda: run.append({}),
        lambda: run.finish({}),
        lambda: run.truncate_rows(-1),
        lambda: run.write_checkpoint(b""),
    ):
        with pytest.raises(RunError, match="is finished; delete the directory"):
            change()
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before


def test_another_config_is_another_run_and_info_is_not(tmp_path):
    assert opened(tmp_path).path != opened(tmp_path, lr=1.0).path
    other_info = open_run(tmp_path, "demo", "one_cycle", 0, CONFIG, {"torch": "3.0"})
    assert other_info.path == opened(tmp_path).path
    assert other_info.info == {"torch": "2.13"}


def test_rows_after_the_checkpoint_are_cut_and_go_on(tmp_path):
    with opened(tmp_path) as run:
        for step in range(10):
            run.append({"step": step})
            if step == 5:
                run.append({"event": "evaluation"})
                run.write_checkpoint(b"state after step 5")
                assert [row.get("step") for row in read_rows(run.path)] == [0, 1, 2, 3, 4, 5, None]  # on disk already
    with opened(tmp_path) as run:
        assert run.truncate_rows(5) == 4
        run.append({"step": 6, "again": True})
        assert run.truncate_rows(6) == 0
    assert [row.get("step") for row in run.rows()] == [0, 1, 2, 3, 4, 5, None, 6]
    assert run.checkpoint_path.read_bytes() == b"state after step 5"
    with run:
        assert run.truncate_rows(-1) == 8
    assert run.rows() == []


@pytest.mark.parametrize("tail", [b'{"step": 3, "lo', b'{"step": 3}', b"\0" * 40, b"\0" * 40 + b"\n", b'{"st\n[1, 2'])
def test_a_half_written_tail_is_cut(tmp_path, tail):
    with opened(tmp_path) as run:
        for step in range(3):
            run.append({"step": step})
    file = run.path / "rows.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + tail)
    assert [row["step"] for row in read_rows(run.path)][:3] == [0, 1, 2]
    with opened(tmp_path) as run:
        run.append({"step": 3})
    assert file.read_bytes() == whole + b'{"step": 3}\n'


def test_damage_in_the_middle_is_not_skipped_in_silence(tmp_path):
    with opened(tmp_path) as run:
        run.append({"step": 0})
    file = run.path / "rows.jsonl"
    file.write_bytes(b'{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        read_rows(file)


def test_the_buffer_is_written_when_large_or_old(tmp_path, monkeypatch):
    with opened(tmp_path) as run:
        run.append({"step": 0})
        assert read_rows(run.path) == []
        run.append({"text": "x" * 70_000})
        assert len(read_rows(run.path)) == 2
        monkeypatch.setattr("superconv.runs.rows.BUFFER_SECONDS", 0.0)
        run.append({"step": 2})
        assert len(read_rows(run.path)) == 3


# ---- crashes and other processes ------------------------------------------------------------------

WRITER = """
import sys
from superconv.runs import open_run
run = open_run(sys.argv[1], "demo", "one_cycle", 0, {"lr": 3.0, "model": "lenet"})
with run:
    print("locked", flush=True)
    for step in range(10**9):
        run.append({"step": step, "text": "x" * 50})
        if step % 100 == 0:
            run.write_checkpoint(str(step).encode())
"""


def test_kill_9_while_writing_leaves_whole_files(tmp_path):
    writer = python(WRITER, tmp_path)
    writer.stdout.readline()
    run = opened(tmp_path)
    while not run.checkpoint_path.exists() or int(run.checkpoint_path.read_bytes()) < 300:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    (run.path / ".rows.jsonl.1-abc.tmp").write_bytes(b"litter")
    with run:  # the lock went with the process
        step = int(run.checkpoint_path.read_bytes())
        rows = run.rows()
        assert [row["step"] for row in rows] == list(range(len(rows)))
        assert len(rows) > step  # the checkpoint never runs ahead of the rows
        run.truncate_rows(step)
        assert len(run.rows()) == step + 1
    assert not list(run.path.glob("*.tmp")) + list(run.path.glob(".*.tmp"))


def test_two_processes_cannot_write_one_run(tmp_path):
    writer = python(WRITER, tmp_path)
    writer.stdout.readline()
    try:
        with pytest.raises(RunLocked, match="is being written by process") as caught:
            opened(tmp_path).append({"step": 0})
        assert caught.value.pid == writer.pid
        assert caught.value.host in str(caught.value)
    finally:
        writer.kill()
        writer.communicate()
    with opened(tmp_path) as run:
        assert run.rows() is not None


def test_a_directory_that_was_removed_and_made_again_is_left_to_its_new_owner(tmp_path):
    first = opened(tmp_path).lock()
    first.append({"step": 0})
    shutil.rmtree(first.path)
    with opened(tmp_path) as second:
        for write in (lambda: first.write_checkpoint(b"first's"), lambda: first.finish({"accuracy": 0.1})):
            with pytest.raises(RunError, match="was removed while it was written; run the same command again"):
                write()
        first.close()
        assert (second.state, second.checkpoints()) == ("unfinished", [])


def test_a_lock_on_a_file_that_has_lost_its_name_is_none(tmp_path, monkeypatch):
    """Its holder removed the folder between our opening and our locking."""
    run, lock = opened(tmp_path), superconv.runs.lock._lock

    def remove_and_lock(handle):
        (run.path / ".lock").unlink()
        lock(handle)

    monkeypatch.setattr("superconv.runs.lock._lock", remove_and_lock)
    with pytest.raises(RunLocked):
        run.lock()


def test_who_opens_a_run_in_the_same_moment_finds_it(tmp_path, monkeypatch):
    """The other one is there first, locks, and removes as litter what this one was about to rename."""
    others = []
    rename = os.replace

    def other_first(*paths):
        monkeypatch.setattr(os, "replace", rename)
        others.append(opened(tmp_path).lock())
        rename(*paths)

    monkeypatch.setattr(os, "replace", other_first)
    run = opened(tmp_path)
    assert (run.state, run.config) == ("unfinished", CONFIG)
    with pytest.raises(RunLocked):
        run.lock()
    others[0].close()
    run.lock().close()


def test_two_objects_of_one_process_exclude_each_other(tmp_path):
    first, second = opened(tmp_path), opened(tmp_path)
    with first:
        assert first.lock() is first  # taken once more: nothing happens
        with pytest.raises(RunLocked):
            second.lock()
    with second:
        second.append({"step": 0})


FORKED = """
import os, sys, time
from superconv.runs import open_run
run = open_run(sys.argv[1], "demo", "one_cycle", 0, {"lr": 3.0, "model": "lenet"}).lock()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, b"1")
    time.sleep(60)
    os._exit(0)
os.read(read, 1)
print("forked", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_worker_does_not_keep_the_lock_of_a_killed_parent(tmp_path):
    parent = python(FORKED, tmp_path, start_new_session=True)
    parent.stdout.readline()
    try:
        with pytest.raises(RunLocked):  # the child's closing did not unlock the parent's
            opened(tmp_path).lock()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        with opened(tmp_path):
            pass
    finally:
        os.killpg(parent.pid, signal.SIGKILL)  # the child
        parent.communicate()


def test_no_locks_on_the_file_system_is_a_warning(tmp_path, monkeypatch):
    def refuse(handle):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("superconv.runs.lock._lock", refuse)
    run = opened(tmp_path)
    with pytest.warns(RuntimeWarning, match="has no locks"):
        run.lock()
    run.append({"step": 0})
    run.close()
    assert len(run.rows()) == 1


# ---- full disks and forbidden places --------------------------------------------------------------


@pytest.fixture
def file_limit():
    """Files of this process may not grow beyond 20,000 bytes: what a full disk is like, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield 20_000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_whole_rows_and_the_old_checkpoint(tmp_path, file_limit):
    run = opened(tmp_path).lock()
    run.write_checkpoint(b"old")
    run.append({"step": 0})
    run.flush()
    run.append({"step": 1, "text": "x" * 30_000})
    with pytest.raises(RunError, match="exceed the allowed size; raise the limit"):
        run.flush()
    assert [row["step"] for row in read_rows(run.path)] == [0]  # the part that fitted was taken back
    with pytest.raises(RunError, match="cannot write"):
        run.close()
    with opened(tmp_path) as run:
        with pytest.raises(RunError, match=r"checkpoint\.pt"):
            run.write_checkpoint(b"x" * 30_000)
        assert run.checkpoint_path.read_bytes() == b"old"
        with pytest.raises(RunError, match=r"summary\.json"):
            run.finish({"text": "x" * 30_000})
        assert run.state == "unfinished"
        run.finish({"text": "short"})
    assert not list(run.path.glob(".*.tmp"))


def test_torch_save_on_a_full_disk_is_the_same_sentence(tmp_path, file_limit):
    path = atomic_write(tmp_path / "checkpoint.pt", b"old")
    with pytest.raises(RunError, match="exceed the allowed size"):
        atomic_write(path, lambda file: torch.save({"weights": torch.zeros(file_limit)}, file))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_rows_that_did_not_fit_are_written_once_there_is_room(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path) as run:
        run.append({"step": 0, "text": "x" * 30_000})
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(RunError):
            run.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        run.append({"step": 1})
    assert [row["step"] for row in run.rows()] == [0, 1]


def test_no_space_left_is_one_sentence(tmp_path):
    def fill(file):
        file.write(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path) as run:
        with pytest.raises(
            RunError, match=r"cannot write .*checkpoint\.pt: the disk or the quota is full; free some space"
        ):
            run.write_checkpoint(fill)
        assert sorted(path.name for path in run.path.iterdir()) == [".lock", "rows.jsonl", "run.json"]


def test_a_file_in_place_of_a_directory_is_one_sentence(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match="a file stands where a directory is needed"):
        opened(tmp_path / "runs")


def test_a_forbidden_place_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("superconv.runs.atomic._RememberingFile", refuse)
    with pytest.raises(RunError, match="writing there is not allowed; choose another directory"):
        opened(tmp_path)


def test_atomic_write_is_all_or_nothing(tmp_path):
    path = atomic_write(tmp_path / "file", "täxt")
    assert path.read_bytes() == "täxt".encode()

    def broken(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, broken)
    assert path.read_bytes() == "täxt".encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    atomic_write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    with pytest.raises(RunError, match="cannot write"):
        atomic_write(tmp_path / "missing" / "file", b"")


@pytest.mark.parametrize(("refusal", "fatal"), [(errno.EINVAL, False), (errno.EBADF, False), (errno.EIO, True)])
def test_a_file_system_that_flushes_no_folders_holds_runs(tmp_path, monkeypatch, refusal, fatal):
    flush = os.fsync

    def refuse_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(refusal, os.strerror(refusal))
        flush(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with pytest.raises(RunError) if fatal else nullcontext():
        atomic_write(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_atomic_write_grants_what_the_umask_grants(tmp_path):
    before = os.umask(0o027)
    try:
        assert atomic_write(tmp_path / "file", b"").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_readers_never_see_a_part(tmp_path):
    path, stop = atomic_write(tmp_path / "file", b"a" * 100_000), threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            data = path.read_bytes()
            seen.add((len(data), data[:1], data[-1:]))

    reader = threading.Thread(target=read)
    reader.start()
    for letter in b"bcdefgh":
        atomic_write(path, bytes([letter]) * 100_000)
    stop.set()
    reader.join()
    assert all(size == 100_000 and first == last for size, first, last in seen)


# ---- damaged directories --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1, "exp', r"run\.json is damaged"),
        ("[]", "no JSON object"),
        ('{"format": 99}', r"has format 99, this version of superconv reads 1; use the version that wrote it"),
        ('{"format": 1}', "'experiment' is missing"),
    ],
)
def test_a_damaged_run_file_is_named_and_hides_no_other_run(tmp_path, content, message):
    damaged, whole = opened(tmp_path), opened(tmp_path, lr=1.0)
    (damaged.path / "run.json").write_text(content)
    with pytest.raises(RunError, match=message):
        opened(tmp_path)
    found = {run.path: run for run in find_runs(tmp_path)}
    assert (found[damaged.path].state, found[whole.path].state) == ("damaged", "unfinished")
    assert message.replace("\\", "")[:10] in found[damaged.path].problem
    assert (found[damaged.path].seed, found[damaged.path].arm) == (0, "one_cycle")


def test_a_config_that_was_edited_is_refused(tmp_path):
    run = opened(tmp_path)
    record = json.loads((run.path / "run.json").read_text())
    record["config"]["lr"] = 5
    (run.path / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="holds another config"):
        opened(tmp_path)


def test_find_runs_takes_only_run_directories(tmp_path):
    assert find_runs(tmp_path / "missing") == []
    (tmp_path / "demo" / "arm" / "notes").mkdir(parents=True)
    (tmp_path / "demo" / "arm" / "seed1-0123456789").mkdir()
    (tmp_path / "demo" / "report.html").write_text("")
    (found,) = find_runs(tmp_path)
    assert (found.seed, found.state) == (1, "damaged")
    assert "cannot read" in found.problem


def test_runs_are_sorted_by_number_not_by_text(tmp_path):
    for seed in (10, 2, 1):
        open_run(tmp_path, "demo", "arm", seed, {})
    assert [run.seed for run in find_runs(tmp_path)] == [1, 2, 10]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\nb", "ä"])
def test_a_name_that_is_no_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="it names a folder: use letters, digits, spaces and "):
        open_run(tmp_path, name, "arm", 0, {})
    with pytest.raises(ValueError, match="it names a folder"):
        open_run(tmp_path, "demo", name, 0, {})
    with pytest.raises(ValueError, match="seed is -1"):
        open_run(tmp_path, "demo", "arm", -1, {})
    assert list(tmp_path.iterdir()) == []


# ---- environment ----------------------------------------------------------------------------------


def test_environment_is_plain_and_imports_no_torch(tmp_path):
    code = "import json, sys; from superconv.runs import environment; e = environment(); "
    code += "assert not {'torch', 'numpy'} & set(sys.modules); print(json.dumps(e))"
    output, errors = python(code, "an argument", cwd=tmp_path).communicate()
    assert errors == b""
    known = json.loads(output)
    assert known["superconv"]
    assert known["torch"]
    assert known["project_revision"] is None
    assert known["command"] == "-c 'an argument'"
    assert set(known) == set(environment())


def test_the_folder_of_a_file_is_made_where_asked_and_what_stands_in_its_way_is_said(tmp_path):
    assert atomic_write(tmp_path / "a" / "b" / "file", "text", parents=True).read_text() == "text"
    with pytest.raises(RunError):
        atomic_write(tmp_path / "c" / "file", "text")
    (tmp_path / "taken").write_text("")
    for folder in ("taken", "taken/below"):
        with pytest.raises(RunError, match="taken"):
            atomic_write(tmp_path / folder / "file", "text", parents=True)


def test_the_processor_is_named_with_the_instructions_that_torch_uses(tmp_path, monkeypatch):
    instructions = torch.backends.cpu.get_cpu_capability()
    monkeypatch.setattr(sys.modules[environment.__module__], "_OF_LINUX", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.processor", lambda: "")
    assert environment()["processor"] == instructions
    (tmp_path / "cpuinfo").write_text("vendor_id\t: M\nmodel name\t: Maker 9\n\nmodel name\t: Maker 9\n")
    assert environment()["processor"] == f"Maker 9, {instructions}"


def test_git_revision_says_what_is_changed(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert git_revision(tmp_path) is None
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    clean = git_revision(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path) == clean + "+changed"
    assert git_revision(tmp_path / "missing") is None


def test_a_lock_that_could_not_be_written_is_given_back(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(superconv.runs.lock.os, "ftruncate", full)
        with pytest.raises(RunError, match="the disk or the quota is full"):
            FolderLock(tmp_path).acquire()
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.release()


def test_an_interrupt_behind_a_write_writes_no_row_twice(tmp_path, monkeypatch):
    log = RowLog(tmp_path / "rows.jsonl")
    log.append({"step": 0})
    write = RowLog._write

    def interrupted(self, data):
        write(self, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RowLog, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.flush()
    log.append({"step": 1})
    log.close()
    assert [row["step"] for row in read_rows(tmp_path / "rows.jsonl")] == [0, 1]
