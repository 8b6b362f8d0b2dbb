"""Save and load objects that hold only arrays and JSON types: each is one safetensors file with its own hash."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from competition.storage import atomic_write, draft_folder
from pipeline.runtime.memory import raise_shortage
from pipeline.runtime.sealed import DamagedFile

Thing = TypeVar("Thing")


@dataclass(frozen=True, eq=False)
class Saved:
    """The content of a file.

    kind: name of the class of the object.
    facts: JSON types by name.
    """

    kind: str
    facts: dict[str, Any]
    arrays: Mapping[str, np.ndarray]

    def write(self, path: Path) -> None:
        about = {"kind": self.kind, "facts": self.facts}
        sealed = json.dumps({"sha256": _digest(about, self.arrays)} | about)
        with atomic_write(path) as temporary, draft_folder(path) as folder:
            temporary.touch()
            mode = temporary.stat().st_mode  # as the umask says; safetensors lets nobody else read its files
            saved = folder / path.name
            save_file(dict(self.arrays), saved, metadata={"about": sealed})  # one entry: several are in any order
            saved.chmod(mode)
            saved.replace(temporary)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that ``write`` wrote. Raises DamagedFile if its content is not what was written."""
        with reading(path), safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about.pop("sha256") == _digest(about, arrays):
                return cls(about["kind"], about["facts"], arrays)
        raise damaged(path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises DamagedFile for what fails while the file is read, except for a lack of memory, handles or rights."""
    try:
        path.open("rb").close()  # safetensors calls a lack of file handles a missing file
        yield
    except PermissionError:
        raise
    except Exception as error:  # a damaged file raises many types, from safetensors and numpy
        raise_shortage(error)
        raise damaged(path) from error


def damaged(path: Path) -> DamagedFile:
    """The error for a file of a fitted model that cannot be used."""
    return DamagedFile(path) if path.exists() else DamagedFile(path, "this file of a trained model is missing")


def save_state(thing: object, path: Path) -> None:
    """Write the class name of ``thing`` and its attributes, except those that begin with an underscore."""
    arrays = {name: np.ascontiguousarray(value) for name, value in _arrays(thing).items()}
    facts = {name: value for name, value in vars(thing).items() if name not in arrays and not name.startswith("_")}
    Saved(type(thing).__name__, facts, arrays).write(path)


def load_state(kind: type[Thing], path: Path) -> Thing:
    """The object of class ``kind`` that ``save_state`` wrote; its arrays are bit-identical.

    Raises DamagedFile if the file does not hold such an object.
    """
    saved = Saved.read(path)
    if saved.kind != kind.__name__:
        raise damaged(path)
    thing = kind.__new__(kind)
    vars(thing).update(saved.facts | dict(saved.arrays))
    return thing


def kind_in(path: Path) -> str:
    """The kind of the object in the file, whose content is not checked. Raises DamagedFile if the file does not say."""
    with reading(path), safe_open(path, framework="numpy") as file:
        return str(json.loads(file.metadata()["about"])["kind"])


def size_of(thing: object) -> int:
    """The number of values in the arrays of ``thing``."""
    return sum(value.size for value in _arrays(thing).values())


def _arrays(thing: object) -> dict[str, np.ndarray]:
    return {k: v for k, v in vars(thing).items() if isinstance(v, np.ndarray) and not k.startswith("_")}


def _digest(about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the whole content, in hex digits."""
    shapes = [(name, arrays[name].dtype.str, arrays[name].shape) for name in sorted(arrays)]
    digest = hashlib.sha256(json.dumps([about, shapes]).encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
