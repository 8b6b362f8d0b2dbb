"""The one exception that is meant for the user's eyes."""

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can fix: one line saying what is wrong, where, and what to do."""


def first_few(names: Iterable[object], most: int = 3) -> str:
    """The first names and the number of the rest, e.g. ``a.png, b.png, c.png and 7 more``."""
    texts = [str(name) for name in names]
    shown = ", ".join(texts[:most])
    return shown if len(texts) <= most else f"{shown} and {len(texts) - most} more"
