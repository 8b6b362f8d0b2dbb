"""Archives of every kind, as deep as they go: unpacked once, wholly or not at all."""

import gzip
import io
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from competition.archives import is_archive, opened, unpacked
from competition.errors import UserError

CONTENT = {"train.csv": b"id,label\n", "train/a.png": b"picture a", "train/b.png": b"picture b"}


def write_files(folder: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".unpacked.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def zipped(content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(content: dict[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def seven_zipped(content: dict[str, bytes], password: str | None = None) -> bytes:
    py7zr = pytest.importorskip("py7zr")
    file = io.BytesIO()
    with py7zr.SevenZipFile(file, "w", password=password) as archive:
        for name, data in content.items():
            archive.writestr(data, name)
    return file.getvalue()


PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "7z": seven_zipped,
    "tar": tarred,
    "tar.gz": lambda content: tarred(content, "w:gz"),
    "tgz": lambda content: tarred(content, "w:gz"),
    "tar.bz2": lambda content: tarred(content, "w:bz2"),
    "tar.xz": lambda content: tarred(content, "w:xz"),
}


def unpack(archive: Path) -> dict[str, bytes]:
    """The files that an archive gives."""
    return read_files(unpacked(archive, archive.parent / "data" / "zoo", lambda folder: None))


def refusal(archive: Path) -> str:
    """The error of an archive that cannot be unpacked; nothing of it may stay."""
    with pytest.raises(UserError) as error:
        unpack(archive)
    assert not list((archive.parent / "data").iterdir())
    message = str(error.value)
    assert str(archive) in message and "draft" not in message and "\n" not in message
    return message


@pytest.fixture
def give(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Write the user's archive."""

    def write(name: str, data: bytes) -> Path:
        return write_files(tmp_path, {name: data}) / name

    return write


@pytest.mark.parametrize("kind", PACKERS)
def test_every_kind_of_archive_is_unpacked(give, kind):
    archive = give(f"zoo.{kind}", PACKERS[kind](CONTENT))
    assert is_archive(archive)
    assert unpack(archive) == CONTENT


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("prefix", ["", "train/"])
def test_every_kind_of_archive_inside_takes_the_place_of_its_name(give, kind, prefix):
    inner = PACKERS[kind]({f"{prefix}a.png": b"a", f"{prefix}b.png": b"b"})
    outer = zipped({"sub/train.csv": b"id\n", f"sub/train.{kind}": inner})
    assert unpack(give("zoo.zip", outer)) == {
        "sub/train.csv": b"id\n",
        "sub/train/a.png": b"a",
        "sub/train/b.png": b"b",
    }


def test_archives_are_opened_as_deep_as_they_go(give):
    images = seven_zipped({"train-jpg.tar": tarred({"train-jpg/a.jpg": b"a", "train-jpg/b.jpg": b"b"})})
    content = {"train-jpg.tar.7z": images, "train.csv.zip": zipped({"train.csv": b"id\n"})}
    assert unpack(give("zoo.zip", zipped({"all.zip": zipped(content)}))) == {
        "all/train-jpg/a.jpg": b"a",
        "all/train-jpg/b.jpg": b"b",
        "all/train.csv": b"id\n",
    }


@pytest.mark.parametrize(
    ("name", "inside", "place"),
    [
        ("sample.csv.zip", "sample.csv", "sample.csv"),
        ("sample.csv.zip", "data/processed/sample.csv", "sample.csv"),
        ("sample.zip", "sample.csv", "sample.csv"),
        ("sample.zip", "other.csv", "sample/other.csv"),
    ],
)
def test_an_archive_of_one_table_becomes_the_table(give, name, inside, place):
    assert unpack(give("zoo.zip", zipped({name: zipped({inside: b"id\n"})}))) == {place: b"id\n"}


def test_a_compressed_table_becomes_the_table_and_a_volume_stays_compressed(give):
    content = {"train.csv.gz": gzip.compress(b"id\n"), "brain.nii.gz": b"not opened"}
    assert unpack(give("zoo.zip", zipped(content))) == {"train.csv": b"id\n", "brain.nii.gz": b"not opened"}


def parts_of(data: bytes, name: str, count: int) -> dict[str, bytes]:
    step = -(-len(data) // count)
    return {f"{name}.{part + 1:03d}": data[part * step :][:step] for part in range(count)}


@pytest.mark.parametrize("kind", ["zip", "7z", "tar.gz"])
def test_the_parts_of_an_archive_are_read_as_one(give, kind):
    parts = parts_of(PACKERS[kind](CONTENT), f"train.{kind}", 5)
    assert unpack(give("zoo.zip", zipped(parts))) == {f"train/{name}": data for name, data in CONTENT.items()}


def test_a_missing_part_is_named(give):
    parts = parts_of(zipped(CONTENT), "train.zip", 5)
    del parts["train.zip.003"]
    message = refusal(give("zoo.zip", zipped(parts)))
    assert "zoo.zip: train.zip.001 in it: part train.zip.003 of 5 is missing; download all parts again" in message


def test_a_zip_cut_by_zip_itself_is_named(give):
    message = refusal(give("zoo.zip", zipped({"train.zip": b"", "train.z01": b""})))
    assert "train.zip in it: cut into parts with train.z01" in message and "zip -s 0" in message


@pytest.mark.parametrize("inside", [False, True])
def test_of_two_archives_of_the_same_content_one_is_unpacked_without_a_package_if_it_can_be(
    give, tmp_path, monkeypatch, inside
):
    both = {"train.7z": seven_zipped(CONTENT), "train.zip": zipped(CONTENT)}
    monkeypatch.setitem(sys.modules, "py7zr", None)
    if inside:
        found = unpack(give("zoo.zip", zipped(both)))
    else:
        found = read_files(opened(write_files(tmp_path / "zoo", both), tmp_path / "place")[1])
    assert found.items() >= {f"train/{name}": data for name, data in CONTENT.items()}.items()


def test_what_systems_add_to_archives_is_passed_over(give):
    names = ("Thumbs.db", "train/desktop.ini", "__MACOSX/train/._a.png", "train/.DS_Store", "._x")
    junk = dict.fromkeys(names, b"junk")
    for kind in ("zip", "tar", "7z"):
        assert unpack(give(f"zoo.{kind}", PACKERS[kind](junk | CONTENT))) == CONTENT


def zipped_in(encoding: str, content: dict[str, bytes]) -> bytes:
    """A ZIP whose names are not marked as UTF-8."""

    class Member(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's name
            return self.filename.encode(encoding), self.flag_bits & ~0x800

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(Member(name), data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "encoding"), [("图像.png", "gbk"), ("Käfer é.png", "cp437"), ("Käfer 猫.png", "utf-8")]
)
def test_names_are_read_as_the_tool_that_made_the_zip_meant_them(give, name, encoding):
    assert unpack(give("zoo.zip", zipped_in(encoding, {name: b"x"}))) == {name: b"x"}


@pytest.mark.parametrize(("name", "encoding"), [("猫_1.png", "gbk"), ("ネコ.png", "cp932"), ("кот.png", "cp866")])
def test_of_several_readings_of_names_the_one_that_the_tables_spell_is_taken(give, name, encoding):
    content = {f"train/{name}": b"x", "train.csv": f"id,label\n{name},cat\n".encode()}
    assert unpack(give("zoo.zip", zipped_in(encoding, content))) == content


def with_header_field(data: bytes, local: int, central: int, value: bytes) -> bytes:
    """A ZIP with some bytes of all its members' headers replaced, at the offsets of the two kinds of header."""
    changed = bytearray(data)
    for mark, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        position = changed.find(mark)
        while position >= 0:
            changed[position + offset : position + offset + len(value)] = value
            position = changed.find(mark, position + 4)
    return bytes(changed)


def test_deflate64_is_named(give):
    message = refusal(give("zoo.zip", with_header_field(zipped(CONTENT), 8, 10, b"\x09\0")))
    assert "compression method 9 (Deflate64) cannot be read here; unpack it yourself and give the folder" in message


def test_a_locked_archive_inside_is_named(give):
    locked = with_header_field(zipped(CONTENT), 6, 8, b"\x01\0")
    message = refusal(give("zoo.zip", zipped({"train.csv": b"id\n", "train_images.zip": locked})))
    assert "zoo.zip: train_images.zip in it: 3 members locked by a password" in message
    assert "locked by a password" in refusal(give("zoo.7z", seven_zipped(CONTENT, password="secret")))


def link(kind: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("passwords")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        *(tarred({"../evil": b""}), tarred({"/evil": b""}), zipped({"a/../../evil": b""}), zipped({"C:\\evil": b""})),
        *(link(tarfile.SYMTYPE), link(tarfile.LNKTYPE), link(tarfile.CHRTYPE), link(tarfile.FIFOTYPE)),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_links_devices_and_paths_out_of_the_folder_are_refused(give, tmp_path, data, inside):
    archive = give("zoo.zip", zipped({"train.csv": b"id\n", "more.zip": data})) if inside else give("zoo.x", data)
    assert "1 unsafe member, a link or a path out of the folder" in refusal(archive)
    assert {path.name for path in tmp_path.rglob("*")} <= {"zoo.zip", "zoo.x", "data"}


def test_an_archive_that_holds_itself_for_ever_is_refused(give):
    data = b"the end"
    for _ in range(12):
        data = zipped({"again.zip": data, "more": b""})
    assert "archives inside each other, more than 8 deep" in refusal(give("zoo.zip", data))


def test_an_archive_without_its_package_names_the_package(give, monkeypatch):
    archive = give("zoo.7z", seven_zipped(CONTENT))
    monkeypatch.setitem(sys.modules, "py7zr", None)
    assert "is a 7z, which the package py7zr reads; run: pip install py7zr" in refusal(archive)


@pytest.mark.parametrize("kind", [*PACKERS, "zip of lzma", "zip of bzip2"])
def test_a_damaged_archive_is_refused_or_gives_what_it_held(give, kind):
    rng = np.random.default_rng(0)
    content = {f"{name}.bin": rng.integers(0, 20, 900, dtype=np.uint8).tobytes() for name in "abcd"}
    methods = {"zip of lzma": zipfile.ZIP_LZMA, "zip of bzip2": zipfile.ZIP_BZIP2}
    whole = zipped(content, methods[kind]) if kind in methods else PACKERS[kind](content)
    inner = kind.partition(" ")[0]
    for _ in range(40):
        damaged = bytearray(whole)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(len(damaged))]
        else:
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        archive = give("zoo.zip", zipped({f"train.{inner}": bytes(damaged)}))
        try:
            found = unpack(archive)
        except UserError as error:
            assert f"zoo.zip: train.{inner} in it: " in str(error)
            assert not list((archive.parent / "data").iterdir())
        else:  # damage to a date, a name or a comment
            assert set(found.values()) == set(content.values()) or kind == "tar"  # which has no sum of its content
            shutil.rmtree(archive.parent / "data")


def test_a_tar_cut_between_two_members_is_refused(give):
    assert "not a complete tar" in refusal(give("zoo.tar", tarred(CONTENT)[:1024]))


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A competition's folder with archives in it, as Kaggle mounts older ones."""
    train = zipped({"train/a.png": b"a", "train/b.png": b"b"})
    parts = parts_of(zipped({"test/c.png": b"c", "test/d.png": b"d"}), "test.zip", 2)
    return write_files(tmp_path / "zoo", {"train.csv": b"id\n", "images/train.zip": train, **parts})


def test_archives_in_a_folder_are_unpacked_beside_it_once(mounted, tmp_path):
    before = read_files(mounted)
    roots = opened(mounted, tmp_path / "place")
    assert roots == (mounted, tmp_path / "place") and read_files(mounted) == before
    train = {"images/train/a.png": b"a", "images/train/b.png": b"b"}
    assert read_files(roots[1]) == {**train, "test/c.png": b"c", "test/d.png": b"d"}
    (roots[1] / "kept").touch()
    opened(mounted, tmp_path / "place")
    assert (roots[1] / "kept").exists()


def test_a_changed_archive_in_a_folder_is_unpacked_again(mounted, tmp_path):
    opened(mounted, tmp_path / "place")
    (mounted / "images" / "train.zip").write_bytes(zipped({"train/a.png": b"changed", "train/b.png": b"b"}))
    _, place = opened(mounted, tmp_path / "place")
    assert (place / "images" / "train" / "a.png").read_bytes() == b"changed"


def test_a_folder_without_archives_or_with_their_content_beside_them_is_read_where_it_is(mounted, tmp_path):
    write_files(mounted, {"images/train/a.png": b"a", "test/c.png": b"c"})
    write_files(mounted, {"all.zip": zipped({"train.csv": b"id\n", "test/c.png": b"c"})})
    assert opened(mounted, tmp_path / "place") == (mounted,)
    assert not (tmp_path / "place").exists()


def test_a_damaged_archive_in_a_folder_is_named_and_nothing_is_kept(mounted, tmp_path):
    archive = mounted / "images" / "train.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"train\.zip: not a complete ZIP .*; download it again"):
        opened(mounted, tmp_path / "derived" / "place")
    assert not (tmp_path / "derived").exists() or not list((tmp_path / "derived").iterdir())
