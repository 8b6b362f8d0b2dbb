"""Save and load objects that hold only arrays and JSON types, each as one safetensors file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from competition.storage import atomic_write

Thing = TypeVar("Thing")


def save_state(thing: object, path: Path) -> None:
    """Write the class name of ``thing`` and its attributes, except those that begin with an underscore."""
    arrays = {name: np.ascontiguousarray(value) for name, value in _arrays(thing).items()}
    facts = {name: value for name, value in vars(thing).items() if name not in arrays and not name.startswith("_")}
    with atomic_write(path) as temporary:
        save_file(arrays, temporary, metadata={"facts": json.dumps(facts), "kind": type(thing).__name__})


def load_state(kind: type[Thing], path: Path) -> Thing:
    """The object of class ``kind`` that ``save_state`` wrote; its arrays are bit-identical."""
    thing = kind.__new__(kind)
    with safe_open(path, framework="numpy") as file:
        vars(thing).update(json.loads(file.metadata()["facts"]))
        vars(thing).update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return thing


def kind_of_state(kinds: Iterable[type[Thing]], path: Path) -> type[Thing]:
    """The one of ``kinds`` whose object ``save_state`` wrote to ``path``. Raises LookupError if it is none of them."""
    with safe_open(path, framework="numpy") as file:
        return {kind.__name__: kind for kind in kinds}[file.metadata()["kind"]]


def size_of(thing: object) -> int:
    """The number of values in the arrays of ``thing``."""
    return sum(value.size for value in _arrays(thing).values())


def _arrays(thing: object) -> dict[str, np.ndarray]:
    return {k: v for k, v in vars(thing).items() if isinstance(v, np.ndarray) and not k.startswith("_")}
