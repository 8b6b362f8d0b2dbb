"""A section of the report: what it is called, and what its template shows."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own and a line in the table of contents.

    anchor: its id on the page; title: its heading; template: its file in ``templates/``.
    content: the template's variables. The template also has ``context``
        and ``titles``, those of all sections by anchor. Its headings begin with ``h3``.
    """

    anchor: str
    title: str
    template: str
    content: Mapping[str, object]
