"""Where a competition may come from, and that nothing is unpacked twice or left half-done."""

import os
import shutil
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from competition import sources
from competition.errors import UserError
from competition.storage import build_folder, write_file


@pytest.fixture
def zoo(make_competition, tmp_path):
    return make_competition(tmp_path / "files" / "zoo", train=6, val=3, test=3, size=(4, 4))


@pytest.fixture
def data_folder(tmp_path):
    return tmp_path / "data"


def open_competition(competition: str | None, data: Path | None, data_folder: Path):
    """As inside no notebook."""
    return sources.open_competition(competition, data, data_folder, kaggle_input=data_folder / "no_input")


def refusal(competition: str | None, data: Path | None, data_folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_competition(competition, data, data_folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def zipped(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                opened.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


def with_member(archive: Path, name: str, content: bytes = b"", mode: int = 0) -> Path:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(member, content)
    return archive


# --- folders


def test_a_folder_is_read_where_it_is(zoo, data_folder):
    competition = open_competition(str(zoo), None, data_folder)
    assert competition.name == "zoo"
    assert competition.train.paths[0].parent == zoo / "train_images"
    assert not data_folder.exists()


def test_a_folder_is_read_under_a_name(zoo, data_folder):
    assert open_competition("animals", zoo, data_folder).name == "animals"


def test_a_folder_without_a_name_bears_its_own(zoo, data_folder):
    assert open_competition(None, zoo, data_folder).name == "zoo"


def test_a_name_may_be_a_folder_here(zoo, data_folder, monkeypatch):
    monkeypatch.chdir(zoo.parent)
    assert len(open_competition("zoo", None, data_folder).train) == 6


def test_a_folder_that_is_none_is_refused_for_what_it_lacks(zoo, data_folder, monkeypatch):
    for name in ("test.csv", "sample_submission.csv"):
        (zoo / name).unlink()
    shutil.rmtree(zoo / "test_images")
    monkeypatch.chdir(zoo.parent)
    assert "zoo: no test.csv there" in refusal("zoo", None, data_folder)
    assert "zoo: no test.csv there" in refusal(None, zoo, data_folder)


def test_a_path_to_nothing_is_refused_with_the_nearest_name(zoo, data_folder):
    message = refusal(str(zoo.parent / "zooo"), None, data_folder)
    assert "zooo: no such file or folder (did you mean 'zoo'?); give a competition's folder or ZIP" in message


def test_archives_in_a_folder_are_unpacked_elsewhere(zoo, data_folder):
    for part in ("train_images", "val_images", "test_images"):
        shutil.make_archive(str(zoo / part), "zip", zoo, part)
        shutil.rmtree(zoo / part)
    competition = open_competition(None, zoo, data_folder)
    assert all(path.is_relative_to(data_folder) for path in competition.train.paths)
    assert not (zoo / "train_images").exists()


# --- archives


@pytest.mark.parametrize("prefix", ["", "zoo/", "a/b/"])
def test_a_zip_is_unpacked_under_its_name_and_then_known_by_it(zoo, data_folder, tmp_path, prefix):
    archive = zipped(zoo, tmp_path / "beasts.zip", prefix)
    assert len(open_competition(str(archive), None, data_folder).train) == 6
    archive.unlink()
    competition = open_competition("beasts", None, data_folder)
    assert competition.name == "beasts"
    assert all(path.is_relative_to(data_folder / "beasts") for path in competition.test.paths)


def test_a_zip_is_read_under_another_name(zoo, data_folder, tmp_path):
    archive = zipped(zoo, tmp_path / "download.zip")
    assert open_competition("animals", archive, data_folder).name == "animals"
    assert open_competition("animals", None, data_folder).name == "animals"


def test_an_unchanged_zip_is_not_unpacked_again(zoo, data_folder, tmp_path):
    archive = zipped(zoo, tmp_path / "zoo.zip")
    first = open_competition(None, archive, data_folder)
    before = [path.stat().st_ino for path in first.train.paths]
    second = open_competition(None, archive, data_folder)
    assert [path.stat().st_ino for path in second.train.paths] == before


def test_a_changed_zip_is_unpacked_again(zoo, make_competition, data_folder, tmp_path):
    archive = zipped(zoo, tmp_path / "zoo.zip")
    open_competition(None, archive, data_folder)
    larger = make_competition(tmp_path / "larger", train=9, val=3, test=3, size=(4, 4))
    zipped(larger, archive)
    assert len(open_competition(None, archive, data_folder).train) == 9
    assert [entry.name for entry in data_folder.iterdir()] == ["zoo"]


def test_a_zip_takes_the_place_of_what_went_by_its_name(zoo, make_competition, data_folder, tmp_path):
    make_competition(data_folder / "zoo", train=9, size=(4, 4))
    archive = zipped(zoo, tmp_path / "zoo.zip")
    assert len(open_competition("zoo", None, data_folder).train) == 9
    assert len(open_competition("zoo", archive, data_folder).train) == 6


@pytest.mark.parametrize("prefix", ["", "train_images/"])
def test_zips_in_a_zip_are_unpacked_too(zoo, data_folder, tmp_path, prefix):
    zipped(zoo / "train_images", zoo / "train_images.zip", prefix)
    shutil.rmtree(zoo / "train_images")
    with zipfile.ZipFile(zoo / "train.csv.zip", "w") as inner:
        inner.write(zoo / "train.csv", "train.csv")
    (zoo / "train.csv").unlink()
    competition = open_competition(None, zipped(zoo, tmp_path / "zoo.zip"), data_folder)
    assert competition.train.paths[0] == data_folder / "zoo" / "train_images" / "00000.png"


def test_what_a_mac_and_an_old_windows_tool_put_into_a_zip_is_no_hindrance(zoo, data_folder, tmp_path):
    archive = zipped(zoo, tmp_path / "zoo.zip", "zoo/")
    with_member(archive, "__MACOSX/zoo/._train.csv", b"\0")
    with_member(archive, "zoo/.DS_Store", b"\0")
    image = (zoo / "train_images" / "00000.png").read_bytes()
    with_member(archive, "zoo\\train_images\\more.png", image)
    open_competition(None, archive, data_folder)
    assert (data_folder / "zoo" / "zoo" / "train_images" / "more.png").read_bytes() == image


@pytest.mark.parametrize(
    ("member", "mode"),
    [
        ("../evil.txt", 0),
        ("images/../../evil.txt", 0),
        ("/evil.txt", 0),
        ("C:/evil.txt", 0),
        ("c:evil.txt", 0),
        ("..\\evil.txt", 0),
        ("\\\\server\\evil.txt", 0),
        ("evil.txt", stat.S_IFLNK | 0o777),
        ("evil.txt", stat.S_IFIFO | 0o666),
    ],
)
def test_a_zip_with_an_unsafe_member_is_refused_whole(zoo, data_folder, tmp_path, member, mode):
    archive = with_member(zipped(zoo, tmp_path / "zoo.zip"), member, b"/etc/passwd", mode)
    message = refusal(None, archive, data_folder)
    assert "zoo.zip: 1 unsafe member, a link or a path out of the folder" in message
    assert "evil.txt; nothing was unpacked" in message
    assert list(data_folder.iterdir()) == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_unsafe_member_of_a_zip_in_a_zip_is_refused_too(zoo, data_folder, tmp_path):
    with_member(zoo / "more.zip", "../../evil.txt")
    message = refusal(None, zipped(zoo, tmp_path / "zoo.zip"), data_folder)
    assert "more.zip in it: 1 unsafe member" in message
    assert list(data_folder.iterdir()) == []


def test_a_cut_zip_is_refused(zoo, data_folder, tmp_path):
    archive = zipped(zoo, tmp_path / "zoo.zip")
    archive.write_bytes(archive.read_bytes()[:-200])
    assert "zoo.zip: not a complete ZIP" in refusal(None, archive, data_folder)


def test_a_zip_with_a_damaged_member_is_refused_and_leaves_nothing(zoo, data_folder, tmp_path):
    archive = zipped(zoo, tmp_path / "zoo.zip")
    content = bytearray(archive.read_bytes())
    content[200:260] = bytes(60)
    archive.write_bytes(content)
    assert "zoo.zip: not a complete ZIP" in refusal(None, archive, data_folder)
    assert list(data_folder.iterdir()) == []


def test_a_zip_that_needs_a_password_is_refused(zoo, data_folder, tmp_path):
    archive = zipped(zoo, tmp_path / "zoo.zip")
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    archive.write_bytes(content)
    assert "zoo.zip: 1 member locked by a password" in refusal(None, archive, data_folder)


def test_a_zip_that_is_no_competition_is_refused_and_not_kept(data_folder, tmp_path):
    archive = with_member(tmp_path / "zoo.zip", "readme.txt")
    assert "zoo.zip: no train.csv there, only readme.txt" in refusal(None, archive, data_folder)
    assert list(data_folder.iterdir()) == []


def test_a_file_that_is_no_zip_is_refused(zoo, data_folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "zoo.rar").write_bytes(b"Rar!")
    message = refusal(str(tmp_path / "elsewhere" / "zoo.rar"), None, data_folder)
    assert "zoo.rar: neither a folder nor a ZIP; give the ZIP from the competition's page" in message


def test_a_part_of_a_competition_is_answered_with_its_folder(zoo, data_folder):
    told = refusal(None, zoo / "train.csv", data_folder)
    assert told.endswith(f"train.csv: neither a folder nor a ZIP; give the folder in which it lies: {zoo}")
    told = refusal(None, zoo / "train_images", data_folder)
    assert told.endswith(f"give the folder above it, which looks like a competition's: {zoo}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty; download it again"),
        (
            b"<!DOCTYPE html><title>Log in",
            "a web page, not a ZIP; log in to Kaggle, accept the competition's rules and",
        ),
    ],
)
def test_a_download_that_failed_is_told_as_such(data_folder, tmp_path, content, told):
    (tmp_path / "zoo.zip").write_bytes(content)
    assert f"zoo.zip: {told}" in refusal(str(tmp_path / "zoo.zip"), None, data_folder)


@pytest.mark.parametrize("address", ["https://www.kaggle.com/competitions/zoo-2026/data", "kaggle.com/c/zoo-2026"])
def test_an_address_is_answered_with_the_name_in_it(data_folder, address):
    assert refusal(address, None, data_folder).endswith("an address; give its name alone: --competition zoo-2026")


@pytest.mark.skipif(os.name == "nt", reason="a path there")
def test_a_path_of_windows_is_answered_with_how_to_write_one(data_folder):
    told = refusal(r"C:\Users\me\zoo", None, data_folder)
    assert "cannot name a competition, and is no path here; write a path with /" in told


@pytest.mark.parametrize("name", ["../zoo", "answers", ".zoo", "a/b", "a\nb"])
def test_a_name_that_cannot_be_a_folders_is_refused(zoo, data_folder, tmp_path, name):
    archive = zipped(zoo, tmp_path / "zoo.zip")
    assert "cannot name a competition" in refusal(name, archive, data_folder)


# --- names


def test_an_unknown_name_is_refused_with_the_nearest_and_all_that_are_known(zoo, data_folder):
    shutil.copytree(zoo, data_folder / "zoo")
    message = refusal("Euro Satt", None, data_folder)
    assert "no competition 'Euro Satt' (did you mean 'eurosat'?), neither a folder here nor one of" in message
    assert "cifar10, eurosat, fashion-mnist, rehearsal, zoo; give its folder or ZIP with --data" in message


def test_no_name_is_the_rehearsal_and_one_that_is_drawn_is_not_drawn_again(zoo, data_folder):
    shutil.copytree(zoo, data_folder / "rehearsal")
    competition = open_competition(None, None, data_folder)
    assert (competition.name, len(competition.train)) == ("rehearsal", 6)


def test_a_data_set_that_is_written_is_not_fetched_again(zoo, data_folder):
    shutil.copytree(zoo, data_folder / "cifar10")
    assert len(open_competition("cifar10", None, data_folder).train) == 6


# --- inside a notebook


@pytest.mark.parametrize("mount", ["zoo", "competitions/zoo", "datasets/ann/zoo", "notebooks/ann/zoo"])
@pytest.mark.parametrize("inner", ["", "files"])
@pytest.mark.parametrize("name", ["zoo", None])
def test_a_notebooks_input_is_found_wherever_kaggle_mounts_it(zoo, data_folder, tmp_path, mount, inner, name):
    shutil.copytree(zoo, tmp_path / "input" / mount / inner)
    (tmp_path / "input" / "weights").mkdir()
    competition = sources.open_competition(name, None, data_folder, kaggle_input=tmp_path / "input")
    assert competition.name == "zoo"
    assert competition.train.paths[0].is_relative_to(tmp_path / "input" / mount / inner)


def test_the_competition_itself_comes_before_a_dataset_of_its_name(zoo, data_folder, tmp_path):
    for mount in ("datasets/ann/zoo", "competitions/zoo"):
        shutil.copytree(zoo, tmp_path / "input" / mount)
    competition = sources.open_competition("zoo", None, data_folder, kaggle_input=tmp_path / "input")
    assert competition.train.paths[0].is_relative_to(tmp_path / "input" / "competitions")


def test_of_two_datasets_of_one_name_none_is_chosen(zoo, data_folder, tmp_path):
    for mount in ("datasets/ann/zoo", "datasets/bob/zoo"):
        shutil.copytree(zoo, tmp_path / "input" / mount)
    with pytest.raises(UserError, match=r"2 inputs are called 'zoo'.*give the right one with --data"):
        sources.open_competition("zoo", None, data_folder, kaggle_input=tmp_path / "input")


def test_two_competitions_among_the_inputs_need_a_name(zoo, data_folder, tmp_path):
    for slug in ("zoo", "farm"):
        shutil.copytree(zoo, tmp_path / "input" / slug)
    with pytest.raises(UserError, match="2 inputs hold a competition: farm, zoo; name one with --competition"):
        sources.open_competition(None, None, data_folder, kaggle_input=tmp_path / "input")


def test_a_notebook_never_answers_with_the_rehearsal_of_its_own_accord(zoo, data_folder, tmp_path, monkeypatch):
    shutil.copytree(zoo, data_folder / "rehearsal")
    (tmp_path / "input" / "weights").mkdir(parents=True)
    lacks = "no input of this notebook holds a competition.*attach one to the notebook, or name another"
    with pytest.raises(UserError, match=lacks):
        sources.open_competition(None, None, data_folder, kaggle_input=tmp_path / "input")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")  # a notebook without any input
    with pytest.raises(UserError, match=lacks):
        open_competition(None, None, data_folder)


def test_a_notebook_that_lacks_the_named_competition_is_told_to_attach_it(zoo, data_folder, tmp_path, monkeypatch):
    shutil.copytree(zoo, tmp_path / "input" / "competitions" / "zoo")
    refused = sources.KaggleError("connection", "Kaggle cannot be reached")
    monkeypatch.setattr(sources.kaggle_client, "download", lambda *_: (_ for _ in ()).throw(refused))
    with pytest.raises(UserError, match=r"no competition 'farm' here; attach it .* \(attached are zoo\)"):
        sources.open_competition("farm", None, data_folder, kaggle_input=tmp_path / "input")


# --- whole or not at all


def test_a_folder_whose_filling_fails_is_not_there(tmp_path):
    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_folder(tmp_path / "built", fill)
    assert list(tmp_path.iterdir()) == []


def test_many_that_fill_a_folder_at_once_all_find_it_whole(tmp_path):
    def fill(folder: Path) -> None:
        for number in range(50):
            (folder / str(number)).touch()

    def build(_: int) -> int:
        return len(list(build_folder(tmp_path / "built", fill).iterdir()))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(build, range(8))) == {50}
    assert [entry.name for entry in tmp_path.iterdir()] == ["built"]


def test_a_file_is_written_whole_with_nothing_beside_it(tmp_path):
    write_file(tmp_path / "answers" / "zoo.csv", "Image,Class\n")
    write_file(tmp_path / "answers" / "zoo.csv", "Image\n")
    assert (tmp_path / "answers" / "zoo.csv").read_bytes() == b"Image\n"
    assert len(list((tmp_path / "answers").iterdir())) == 1


def test_a_competitions_name_is_known_before_anything_is_fetched(zoo, data_folder, tmp_path):
    def name(competition: str | None, data: Path | None = None) -> str | None:
        return sources.name_of(competition, data, kaggle_input=tmp_path / "no_input")

    archive = zipped(zoo, tmp_path / "animals.zip")
    sources_given = [(str(zoo), None), (str(archive), None), (None, zoo), ("pets", zoo), ("pets", archive)]
    assert [name(*given) for given in sources_given] == ["zoo", "animals", "zoo", "pets", "pets"]
    assert [open_competition(*given, data_folder).name for given in sources_given] == [
        name(*given) for given in sources_given
    ]
    assert (name(None), name("fashion-mnist")) == ("rehearsal", "fashion-mnist")
    assert name(str(tmp_path / "missing.zip")) is None
