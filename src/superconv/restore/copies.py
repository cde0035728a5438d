"""Copies of tensors that wait to be brought back: beside the original, on another device, or on disk."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from typing import IO, Any

import torch

DISK = "disk"


class Copies:
    """Makes copies and gives them back; `close` drops those on disk.

    On disk they lie in one file without a name in the folder for temporary files (TMPDIR), which vanishes with the
    process however it ends. Besides the file, a tensor's content is in memory twice while it is written or read.

    Args:
        where: "disk"; a device; None: each beside its original.
    Raises: ValueError: neither.
    """

    def __init__(self, where: str | torch.device | None) -> None:
        self._file: IO[bytes] | None = None
        self._device: torch.device | None = None
        if where == DISK:
            # open until close(); without a buffer, which a full disk would refuse again at every seek and at the end
            self._file = tempfile.TemporaryFile(prefix="superconv-", buffering=0)  # noqa: SIM115
        elif where is not None:
            try:
                self._device = torch.empty(0, device=where).device
            except (RuntimeError, TypeError, AssertionError):  # the last: a build without CUDA
                raise ValueError(f"keep_copy_on is {where!r}; give a device such as 'cpu', 'disk', or None") from None

    def keep(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Copy a tensor's content.

        Returns: a function that gives the copy, as often as it is asked.
        Raises: OSError: the disk is full; the message says what to do.
        """
        if self._file is not None:
            return self._on_disk(tensor, self._file)
        source = tensor.detach()
        copy = source.to(source.device if self._device is None else self._device, copy=True)
        return lambda: copy

    def close(self) -> None:
        """Drop what is on disk."""
        if self._file is not None:
            self._file.close()

    @staticmethod
    def _on_disk(tensor: torch.Tensor, file: Any) -> Callable[[], torch.Tensor]:
        content = io.BytesIO()
        torch.save(tensor.detach().to("cpu", copy=True), content)  # of a view alone, not of all that it is a view of
        length = len(content.getbuffer())
        try:
            start = file.seek(0, io.SEEK_END)
            _all(file.write, content.getbuffer())
        except OSError as error:
            remedy = "free space, let TMPDIR name another folder, or keep the copy in memory"
            text = f"the copy of the model cannot be kept on disk: {error.strerror}; {remedy}"
            raise OSError(error.errno, text, tempfile.gettempdir()) from error

        def read() -> torch.Tensor:
            file.seek(start)
            content = bytearray(length)
            _all(file.readinto, memoryview(content))
            return torch.load(io.BytesIO(content), weights_only=True)

        return read


def _all(move: Callable[[memoryview], int], data: memoryview) -> None:
    """Write or read all of `data`: the system may do a part at a time (2 GiB, or what room there is)."""
    while data:
        moved = move(data)
        if not moved:
            raise EOFError("the copy on disk is not whole")
        data = data[moved:]
