"""A contest's folder for each test of the layouts."""

from pathlib import Path

import pytest

from tests.drawing import Contest


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    return Contest(tmp_path / "contest")
