"""Images of containers are written once, each to a file of its own."""

from pathlib import Path

import pandas as pd
import pytest

from competition.containers import Container, extract
from competition.errors import UserError
from tests.competition.containers.conftest import png


def container(path: Path, ids: list[str], pictures: int | None = None) -> Container:
    path.write_bytes(b"")
    images = [png(number) for number in range(len(ids) if pictures is None else pictures)]
    return Container(path, "test", pd.DataFrame({"id": ids}, dtype=str), "id", lambda: iter(images))


def test_files_are_called_by_ids_where_these_can_be_names(tmp_path):
    ids = ["a", "1.2.840", "b.png", "x/../y", "twice", "twice", "Case", "case", "..", "a:b"]
    table = extract([container(tmp_path / "c", ids)], tmp_path / "out")
    names = [Path(file).name for file in table["file"]]
    assert names[:3] == ["a.png", "1.2.840.png", "b.png"]
    assert names[4:8] == ["twice (1).png", "twice (2).png", "Case (1).png", "case (2).png"]
    assert [names[place] for place in (3, 8, 9)] == ["row 4.png", "row 9.png", "row 10.png"]
    assert [Path(file).read_bytes() for file in table["file"]] == [png(number) for number in range(len(ids))]


def test_images_are_written_once_and_again_if_the_container_changes(tmp_path):
    first = container(tmp_path / "c", ["a", "b"])
    before = extract([first], tmp_path / "out")
    (tmp_path / "out" / "kept").touch()
    assert extract([first], tmp_path / "out").equals(before) and (tmp_path / "out" / "kept").exists()
    (tmp_path / "c").write_bytes(b"changed")
    extract([first], tmp_path / "out")
    assert not (tmp_path / "out" / "kept").exists()


def test_a_container_with_fewer_images_than_rows_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="c: 1 image of 2 rows; download it again"):
        extract([container(tmp_path / "c", ["a", "b"], pictures=1)], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"c"}
