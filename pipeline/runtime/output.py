"""Standard output and error that never stop a command, though a pipe closes or a name cannot be encoded."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GONE = (errno.EPIPE, errno.EIO, errno.EINVAL)  # the reader has ended, the terminal hung up, as EPIPE on Windows

LAST_STANDARD = 2  # the descriptor of stderr


class _Outlet(io.FileIO):
    """A file descriptor that drops what it cannot pass on.

    fault: why, if it is another reason than that nobody reads it, such as a full disk.
    """

    fault: str | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a name, not a path
                os.dup2(nowhere.fileno(), self.fileno())
            if error.errno not in GONE:
                self.fault = os.strerror(error.errno or errno.EIO)
            return super().write(data)


def fault_of_output() -> str | None:
    """Why stdout could not be written, on a full disk for example; None if it could, or if nobody reads it."""
    outlet = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return outlet.fault if isinstance(outlet, _Outlet) else None


def make_output_robust() -> None:
    """Make ``print`` never fail: after a reader has ended, on a full disk, or for what the encoding lacks.

    Output that something else has replaced, such as a test, stays as it is.
    """
    _occupy_closed()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as the process
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, robust(stream))


def _occupy_closed() -> None:
    """Open the standard descriptors that are closed, whose numbers the next files would get, and with them messages."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= LAST_STANDARD:
        pass
    os.close(descriptor)


def robust(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """A stream to the same place that drops what it cannot pass on."""
    stream.reconfigure(errors="backslashreplace")
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:  # a Windows console
        return stream
    outlet = io.BufferedWriter(_Outlet(stream.fileno(), "wb", closefd=False))
    at_once = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(outlet, stream.encoding, stream.errors, line_buffering=at_once)
