"""Sections shown for contexts of every kind of task."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.report import figures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import EmbeddedImage, FigureFolder
from pipeline.report.rendering import environment


class Undrawn(FigureFolder):
    """Takes figures without drawing them, which most tests need not wait for."""

    def add(self, name: str, figure: object, alt: str, photographs: bool = False) -> EmbeddedImage:
        return EmbeddedImage(f"data:{name}", 1, 1, alt)


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., str]:
    """A function that returns the HTML of a section; empty if the section has nothing to show.

    is_drawn: draw its figures too.
    """

    def html(section: Callable, context: ReportContext, is_drawn: bool = False) -> str:
        folder = (FigureFolder if is_drawn else Undrawn)(tmp_path / "figures")
        with figures.style():
            made = section(context, folder)
        if made is None:
            return ""
        return environment().get_template(made.template).render(made.content, context=context, titles={})

    return html
