"""Archives that a tool has cut into several files, read as one."""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast


class _Parts(io.RawIOBase):
    """Several files read as one: the parts into which a tool has cut an archive."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self._files = files
        self._sizes = [file.seek(0, io.SEEK_END) for file in files]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: sum(self._sizes)}[whence]
        if self._position < 0:
            raise ValueError("a position before the beginning")
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # no type for what has a buffer in 3.11
        begin = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            if self._position < begin + size:
                file.seek(self._position - begin)
                data = file.read(min(len(buffer), begin + size - self._position))
                buffer[: len(data)] = data
                self._position += len(data)
                return len(data)
            begin += size
        return 0


@contextmanager
def opened_parts(parts: Sequence[Path]) -> Iterator[BinaryIO]:
    """The parts of one archive as one binary file."""
    with ExitStack() as stack:
        files = [stack.enter_context(part.open("rb")) for part in parts]
        yield files[0] if len(files) == 1 else cast(BinaryIO, io.BufferedReader(_Parts(files)))
