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


class _Outlet(io.FileIO):
    """A file descriptor that drops what it cannot pass on. Any other fault, such as a full disk, is raised once."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a name, not a path
                os.dup2(nowhere.fileno(), self.fileno())
            if error.errno not in GONE:
                raise
            return super().write(data)


def make_output_robust() -> None:
    """Make ``print`` go on after the reader of a pipe has ended, and escape what the encoding lacks.

    Output that something else has replaced, such as a test, stays as it is.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _robust(stream))


def _robust(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.reconfigure(errors="backslashreplace")
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:  # a Windows console
        return stream
    outlet = io.BufferedWriter(_Outlet(stream.fileno(), "wb", closefd=False))
    at_once = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(outlet, stream.encoding, stream.errors, line_buffering=at_once)
