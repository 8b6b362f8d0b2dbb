"""Answers that are remembered during a command, such as the hash of a file.

A notebook's process runs several commands, between which files may change; each begins with ``forget``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import _lru_cache_wrapper, cache
from typing import Any, TypeVar

Answer = TypeVar("Answer")

_memories: list[_lru_cache_wrapper[Any]] = []


def remembered(function: Callable[..., Answer]) -> _lru_cache_wrapper[Answer]:
    """``functools.cache``, until ``forget`` is called."""
    memory = cache(function)
    _memories.append(memory)
    return memory


def forget() -> None:
    """Forget the answers of all functions that are ``remembered``."""
    for memory in _memories:
        memory.cache_clear()
