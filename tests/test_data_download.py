"""fetch: against an HTTP server on this machine that can be good, wrong, cut short, or gone."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import http.server
import io
import tarfile
import threading
from types import MappingProxyType

import pytest

from superconv.data import DataError, catalog, download, fetch, where

CONTENT = b"published bytes " * 4096
pytest.importorskip("pooch")


@pytest.fixture
def server():
    """Serves `files`: path -> (status, content, bytes to send before the connection is closed)."""
    files: dict[str, tuple[int, bytes, int]] = {}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, content, sent = files.get(self.path, (404, b"", 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:sent])

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    httpd.files, httpd.asked = files, asked
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def good(content=CONTENT):
    return 200, content, len(content)


def publish(monkeypatch, server, name, contents, *, mirrors=("",)):
    """Point a data set's downloads at the server; `contents`: filename -> published bytes."""
    source = catalog.NAMES[name]
    downloads = tuple(
        catalog.Download(d.filename, hashlib.md5(contents[d.filename]).hexdigest(),
                         tuple(f"{server.url}{mirror}/{d.filename}" for mirror in mirrors))
        for d in source.downloads
    )  # fmt: skip
    changed = MappingProxyType({**catalog.NAMES, name: dataclasses.replace(source, downloads=downloads)})
    monkeypatch.setattr(catalog, "NAMES", changed)
    monkeypatch.setattr(download, "NAMES", changed)


@pytest.fixture
def mnist(monkeypatch, server):
    """Publishes four files under /a and /b; returns the table of what the server answers."""
    contents = {d.filename: CONTENT + d.filename.encode() for d in catalog.NAMES["mnist"].downloads}
    publish(monkeypatch, server, "mnist", contents, mirrors=("/a", "/b"))
    for name, content in contents.items():
        server.files[f"/a/{name}"] = server.files[f"/b/{name}"] = good(content)
    return server.files


FIRST = "train-images-idx3-ubyte.gz"


def left_behind(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_files_arrive_in_torchvisions_layout_once(tmp_path, mnist, server):
    folder = fetch("mnist", tmp_path)
    assert folder == tmp_path / "MNIST" / "raw" == where("mnist", tmp_path)
    assert len(left_behind(tmp_path)) == 4
    assert (folder / FIRST).read_bytes() == CONTENT + FIRST.encode()
    assert len(server.asked) == 4
    fetch("mnist", tmp_path)
    assert len(server.asked) == 4  # nothing is downloaded twice


@pytest.mark.parametrize(
    "answer",
    [(404, b"", 0), (500, b"", 0), good(b"another file"), (200, CONTENT, 5000), (200, CONTENT, 0)],
    ids=["404", "500", "wrong checksum", "cut short", "nothing sent"],
)
def test_a_bad_mirror_is_passed_over(tmp_path, mnist, answer):
    mnist[f"/a/{FIRST}"] = answer
    folder = fetch("mnist", tmp_path)
    assert (folder / FIRST).read_bytes() == CONTENT + FIRST.encode()
    assert len(left_behind(tmp_path)) == 4


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, b"", 0), "HTTP status 404"),
        (good(b"another file"), "another checksum"),
        ((200, CONTENT, 5000), "the connection broke off"),
    ],
)
def test_nothing_is_left_of_a_download_that_failed_everywhere(tmp_path, mnist, answer, says):
    mnist[f"/a/{FIRST}"] = mnist[f"/b/{FIRST}"] = answer
    with pytest.raises(DataError, match=says) as caught:
        fetch("mnist", tmp_path)
    assert str(caught.value).count("http://127.0.0.1") == 2  # both addresses are named
    assert "\n" not in str(caught.value)
    assert left_behind(tmp_path) == []


def test_no_server_at_all(tmp_path, mnist, server, monkeypatch):
    first = catalog.NAMES["mnist"].downloads[0]
    gone = dataclasses.replace(first, urls=("http://127.0.0.1:9/gone",))
    changed = dataclasses.replace(catalog.NAMES["mnist"], downloads=(gone,))
    monkeypatch.setattr(catalog, "NAMES", MappingProxyType({**catalog.NAMES, "mnist": changed}))
    with pytest.raises(DataError, match="no connection"):
        fetch("mnist", tmp_path)


class Bar:
    """A progress bar that counts, and is interrupted after a while."""

    total = 0

    def __init__(self, stop_after=None, stop=KeyboardInterrupt()):  # noqa: B008
        self.updates = 0
        self.stop_after, self.stop = stop_after, stop

    def update(self, amount):
        self.updates += 1
        if self.updates == self.stop_after:
            raise self.stop

    def reset(self):
        pass

    def close(self):
        pass


def test_an_interrupted_download_leaves_nothing_and_goes_on_later(tmp_path, mnist, server):
    with pytest.raises(KeyboardInterrupt):
        fetch("mnist", tmp_path, progress=Bar(stop_after=3))  # in the second file
    assert left_behind(tmp_path) == [FIRST]
    bar = Bar()
    fetch("mnist", tmp_path, progress=bar)
    assert bar.updates > 0
    assert server.asked.count(f"/a/{FIRST}") == 1  # the file that was whole is kept


def test_a_full_disk(tmp_path, mnist):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); free space"):
        fetch("mnist", tmp_path, progress=Bar(stop_after=1, stop=full))
    assert left_behind(tmp_path) == []


def cifar_archive(filenames):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in filenames:
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = 10
            archive.addfile(info, io.BytesIO(name.encode()[:10].ljust(10)))
    return packed.getvalue()


FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def test_an_archive_is_replaced_by_its_files(tmp_path, monkeypatch, server):
    packed = cifar_archive([*FILES, "../../../evil.bin", "readme.html"])
    publish(monkeypatch, server, "cifar10", {"cifar-10-binary.tar.gz": packed})
    server.files["/cifar-10-binary.tar.gz"] = good(packed)
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"a part of the files lies there")
    assert fetch("cifar10", tmp_path) == tmp_path / "cifar-10-batches-bin"
    assert left_behind(tmp_path) == FILES
    assert (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").read_bytes() == b"test_batch"
    assert not (tmp_path.parent / "evil.bin").exists()


def test_an_archive_without_its_files_is_refused(tmp_path, monkeypatch, server):
    packed = cifar_archive(FILES[:3])
    publish(monkeypatch, server, "cifar10", {"cifar-10-binary.tar.gz": packed})
    server.files["/cifar-10-binary.tar.gz"] = good(packed)
    with pytest.raises(DataError, match=r"holds no data_batch_4\.bin"):
        fetch("cifar10", tmp_path)
    assert not (tmp_path / "cifar-10-batches-bin").exists()


def test_a_folder_that_cannot_be_written(tmp_path, mnist):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        fetch("mnist", tmp_path / "file")


def test_what_cannot_be_downloaded(tmp_path):
    with pytest.raises(DataError, match="nothing to download"):
        fetch("folder:/pictures")
    with pytest.raises(DataError, match="unknown data set"):
        fetch("imagent", tmp_path)
    with pytest.raises(DataError, match="imagenet cannot be downloaded from here; unpack it as imagenet/train/CLASS"):
        fetch("imagenet", tmp_path)
