"""Files that carry a hash of their content, so that damage to them is noticed.

JSON and .npz files hold it among their values, so that others can read them; it ends any other file that is sealed.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from competition.errors import UserError
from competition.storage import atomic_write
from competition.wording import printable
from pipeline.runtime.memory import raise_shortage

_PIECE = 1 << 20  # bytes that are hashed at once
SEAL_BYTES = hashlib.sha256().digest_size
HASH = "sha256"  # the key under which a file holds the hash of everything else in it


class DamagedFile(UserError):  # noqa: N818 - the name says what is wrong with the file
    """A file is not what was written to it: cut, changed, missing, of another version or of another kind.

    path: the file. unsealed: the content of a JSON file that holds no hash at all.
    """

    def __init__(
        self,
        path: Path,
        fault: str = "damaged, or written by another version of the pipeline",
        remedy: str = "run pipeline/train.py again",
        unsealed: object = None,
    ) -> None:
        super().__init__(f"{printable(path, most=200)}: {fault}; {remedy}")
        self.path, self.unsealed = path, unsealed


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON values under string keys, and their hash, atomically."""
    with atomic_write(path) as draft:
        draft.write_text(json.dumps({HASH: _hash_of_json(content), **content}, indent=1), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The content that ``write_json`` wrote.

    Raises FileNotFoundError or PermissionError, and DamagedFile if the file is not as it was written.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise_shortage(error)
        raise DamagedFile(path) from None
    if not isinstance(content, dict) or HASH not in content:
        raise DamagedFile(path, unsealed=content)
    if content.pop(HASH) != _hash_of_json(content):
        raise DamagedFile(path)
    return content


def _hash_of_json(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays of numbers or text as an .npz without pickle, and their hash, atomically."""
    sealed = arrays | {HASH: np.array(_hash_of_arrays(arrays))}
    with atomic_write(path) as draft, draft.open("wb") as file:
        np.savez(file, **sealed)  # type: ignore[arg-type]  # numpy's stubs take the dict for other keywords


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that ``write_arrays`` wrote.

    Raises FileNotFoundError or PermissionError, and DamagedFile if the file is not as it was written.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored.items())
        if arrays.pop(HASH).item() == _hash_of_arrays(arrays):
            return arrays
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file raises many types, from zipfile, zlib and numpy
        raise_shortage(error)
        raise DamagedFile(path) from None
    raise DamagedFile(path)


def _hash_of_arrays(arrays: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def seal(path: Path, owner: str = "") -> None:
    """Append the SHA-256 of the content of a file, and of the name of its owner: what the content belongs to."""
    with path.open("r+b") as file:
        digest = _digest(file, path.stat().st_size, owner)
        file.write(digest)


def is_sealed(path: Path, owner: str = "") -> bool:
    """Whether ``path`` is a file that is as it was when it was sealed, for the same owner."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size - SEAL_BYTES
            return size >= 0 and _digest(file, size, owner) == file.read()
    except OSError:
        return False


def sealed_content(path: Path, owner: str = "") -> bytes | None:
    """The content of a file without its seal; None if ``is_sealed`` is not true of it."""
    return path.read_bytes()[:-SEAL_BYTES] if is_sealed(path, owner) else None


def _digest(file: BinaryIO, size: int, owner: str) -> bytes:
    """The hash of the next ``size`` bytes of the file and of the owner."""
    digest = hashlib.sha256()
    for start in range(0, size, _PIECE):
        digest.update(file.read(min(_PIECE, size - start)))
    digest.update(owner.encode())
    return digest.digest()
