"""JSON and .npz files that carry a hash of their content, so that damage to them is noticed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from competition.storage import atomic_write
from pipeline.runtime.memory import raise_shortage

HASH = "sha256"  # the key under which a file holds the hash of everything else in it


class DamagedFile(Exception):  # noqa: N818 - the name says what is wrong with the file
    """A file was changed since it was written, or was written by something else; the message is one line."""

    def __init__(self, path: Path, unsealed: object = None) -> None:
        super().__init__(f"{path.name} is damaged")
        self.unsealed = unsealed  # the content of a JSON file that holds no hash at all


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
