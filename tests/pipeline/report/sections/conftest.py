"""Sections drawn for contexts of every kind of task."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.report import figures
from pipeline.report.context import ReportContext
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.rendering import environment


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., str]:
    """A function that draws a section and returns its HTML; empty if the section has nothing to show."""

    def html(section: Callable, context: ReportContext) -> str:
        with figures.style():
            made = section(context, FigureFolder(tmp_path / "figures"))
        if made is None:
            return ""
        return environment().get_template(made.template).render(made.content, context=context, titles={})

    return html
