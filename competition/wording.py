"""Wording of errors: names from a user's files, made safe to print on one line."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from competition.errors import UserError, first_few


def printable(name: object, most: int = 80) -> str:
    """The name on one line, with control characters escaped and the middle of a long name left out."""
    text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(name))
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def listed(names: Iterable[object]) -> str:
    """The first few names, printable, and how many follow."""
    return first_few(printable(name) for name in names)


def counted(number: int, thing: str) -> str:
    """``1 row``, ``2,000 rows``, ``2 classes``."""
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{number:,} {thing}{ending}"


def size_text(count: float) -> str:
    """A number of bytes in the unit that fits: ``512 bytes``, ``3.2 kB``, ``1,234.5 TB``."""
    units = iter(("kB", "MB", "GB", "TB"))
    unit = "bytes"
    while count >= 999.95 and (larger := next(units, None)):
        count, unit = count / 1000, larger
    return f"{count:.0f} bytes" if unit == "bytes" else f"{count:,.1f} {unit}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'Class'?)`` if a known name is similar, else an empty string."""
    spelled = {candidate.casefold(): candidate for candidate in known}
    near = get_close_matches(name.casefold(), spelled, n=1)
    return f" (did you mean '{printable(spelled[near[0]])}'?)" if near else ""


def fault_in(path: Path, fault: str, remedy: str) -> UserError:
    """The error to raise about a file or folder: what is wrong with it, and what to do."""
    return UserError(f"{printable(path, most=200)}: {fault}; {remedy}")
