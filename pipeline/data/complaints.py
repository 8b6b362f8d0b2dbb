"""Notices JPEGs that are damaged inside: libjpeg decodes them with grey or shifted parts, and only prints a line.

It prints on the standard error of the process, through cv2 too, and does not say which file it means. So standard error
goes to a file while images are decoded; if the file grows meanwhile, the images in question are decoded once more, one
by one. Intact images cost no more than a look at the size of that file.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.data.decode import JPEG_END, JPEG_START, ImagePath, UnreadableImage, decode_bytes, read_file
from pipeline.data.fitting import Size
from pipeline.runtime.output import robust

STDERR = 2  # its descriptor
COMPLAINT = re.compile(rb"(Corrupt JPEG data|Premature end of JPEG file|Inconsistent progression sequence)[^\n]*\n?")
LEFT_OVER = re.compile(rb"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")


class Complaints:
    """What was printed on standard error."""

    def __init__(self, file: BinaryIO) -> None:
        """file: open for appending, so that its position does not matter for what is written."""
        self._file, self._descriptor = file, file.fileno()

    @property
    def length(self) -> int:
        """In bytes."""
        return os.lseek(self._descriptor, 0, os.SEEK_END)  # quicker than to ask for its status

    def since(self, length: int) -> bytes:
        """What was printed after it had this length."""
        self._file.seek(length)
        return self._file.read()

    def are_about(self, path: ImagePath, least: Size) -> bool:
        """Whether the image is a JPEG that is damaged inside. Nothing else may be decoded meanwhile.

        least: see ``decode_bytes``.
        """
        before = self.length
        try:
            data = read_file(path)
            decode_bytes(data, least)
        except (OSError, UnreadableImage):
            return False
        found = COMPLAINT.search(self.since(before))
        return data.startswith(JPEG_START) and found is not None and not _is_padded(data, found[0])


def _is_padded(data: bytes, complaint: bytes) -> bool:
    """Whether the complaint is only about equal bytes before the end, which some cameras add to a whole picture."""
    left_over = LEFT_OVER.match(complaint)
    end = data.rfind(JPEG_END)
    return left_over is not None and len(set(data[end - int(left_over[1]) : end])) == 1


@contextmanager
def heard(folder: Path) -> Iterator[Complaints]:
    """A block in which standard error is listened to; afterwards what was not about JPEGs is printed.

    folder: where a file without a name can be made. Raises OSError if it cannot.
    """
    with tempfile.TemporaryFile("a+b", buffering=0, dir=folder) as file:
        complaints, own = Complaints(file), os.dup(STDERR)
        try:
            with _python_writes_to(own):
                os.dup2(file.fileno(), STDERR)
                yield complaints
        finally:
            os.dup2(own, STDERR)
            with suppress(OSError):
                os.write(own, COMPLAINT.sub(b"", complaints.since(0)))
            os.close(own)


@contextmanager
def unheard() -> Iterator[None]:
    """A block, or the call of a function, in which damaged JPEGs print nothing where there is room for a file."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(heard(Path(tempfile.gettempdir())))
        yield


@contextmanager
def _python_writes_to(descriptor: int) -> Iterator[None]:
    """A block in which sys.stderr, if it is that of the process, is this one, as progress bars must be seen."""
    try:
        is_of_process = sys.stderr.fileno() == STDERR
    except (OSError, ValueError, AttributeError):  # of a notebook or a test
        is_of_process = False
    if not is_of_process:
        yield
        return
    sys.stderr.flush()
    with os.fdopen(os.dup(descriptor), "w", 1, sys.stderr.encoding) as text, redirect_stderr(robust(text)):
        yield
