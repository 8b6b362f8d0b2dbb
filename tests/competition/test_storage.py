"""Files: whole or not there."""

import pytest

from competition.storage import atomic_write


def test_a_file_appears_under_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "scores.csv"
    with atomic_write(path) as temporary:
        temporary.write_text("model,accuracy\n")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "model,accuracy\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interruption_leaves_the_former_file_and_no_other(tmp_path, error):
    path = tmp_path / "plan.json"
    path.write_text("former")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_first_file_that_is_interrupted_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), atomic_write(tmp_path / "history.csv") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_the_former_file_is_replaced(tmp_path):
    path = tmp_path / "run.json"
    for text in ("former", "latter"):
        with atomic_write(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "latter"
