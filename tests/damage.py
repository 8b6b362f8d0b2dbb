"""Damage a file in many ways: as killed processes, bad disks, other versions and strangers leave it."""

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

SPRUNG = "sprung"  # the folder that a pickle makes, beside the file, when it is executed


class Trap:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def pickled(path: Path) -> bytes:
    return pickle.dumps(Trap(path.with_name(SPRUNG)))


def array_of_objects(path: Path) -> bytes:
    """A .npy file whose content is a pickle."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    padded = header.ljust(117) + b"\n"
    return np.lib.format.magic(1, 0) + len(padded).to_bytes(2, "little") + padded + pickled(path)


def pickled_by_torch(path: Path) -> bytes:
    content = io.BytesIO()
    torch.save(Trap(path.with_name(SPRUNG)), content)
    return content.getvalue()


def flipped(path: Path) -> bytes:
    """The content with one bit flipped in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    return bytes(content)


CONTENTS: dict[str, Callable[[Path], bytes]] = {
    "cut": lambda path: path.read_bytes()[: path.stat().st_size // 2],
    "one byte short": lambda path: path.read_bytes()[:-1],
    "empty": lambda path: b"",
    "flipped": flipped,
    "zeros": lambda path: bytes(path.stat().st_size),
    "a pickle": pickled,
    "an array of objects": array_of_objects,
    "a pickle of torch": pickled_by_torch,
    "not UTF-8": lambda path: b"\xff\xfe\x80 epoch,loss\n\xe4,1\n",
    "another text": lambda path: b'{"version": 0, "facts": [1, 2]}\n',
}
WAYS = (*CONTENTS, "a folder", "missing")


def ways_but(*others: str) -> list[str]:
    return [way for way in WAYS if way not in others]


def damage(path: Path, way: str | None) -> None:
    """Damage a file in one of ``WAYS``; None leaves it as it is."""
    if way is None:
        return
    content = CONTENTS[way](path) if way in CONTENTS else None
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if content is not None:
        path.write_bytes(content)
    elif way == "a folder":
        path.mkdir()
        (path / "a file in it").touch()
