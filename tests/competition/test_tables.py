"""What a competition's CSVs and images may look like, and what is said where they are wrong."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.errors import UserError
from competition.layouts import KNOWN, KnownCompetition, load_competition, read_known
from competition.spec import Competition
from competition.tables import column_called, read_table, write_table


@pytest.fixture
def folder(make_competition, tmp_path):
    return make_competition(tmp_path / "zoo")


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def refusal(folder: Path, **options: str) -> str:
    with pytest.raises(UserError) as caught:
        load_competition(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- layouts


@pytest.mark.parametrize("ids_with_extension", [True, False])
@pytest.mark.parametrize("layout", ["split_images", "split", "images", "beside"])
def test_every_layout_of_the_images_gives_a_file_for_every_id(make_competition, tmp_path, layout, ids_with_extension):
    folder = make_competition(tmp_path / "zoo", layout=layout, ids_with_extension=ids_with_extension)
    competition = load_competition(folder)
    assert (len(competition.train), len(competition.val), len(competition.test)) == (30, 9, 12)
    for split in (competition.train, competition.val, competition.test):
        assert all(path.is_file() for path in split.paths)
        assert [path.stem for path in split.paths] == [image_id.removesuffix(".png") for image_id in split.ids]


@pytest.mark.parametrize("extension", [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".PNG", ".Jpg", ".JPEG"])
def test_every_extension_is_found_in_any_case(make_competition, tmp_path, extension):
    folder = make_competition(tmp_path / "zoo", extension=extension, ids_with_extension=False)
    assert {path.suffix for path in load_competition(folder).train.paths} == {extension}


def test_an_id_with_its_extension_in_lower_case_finds_a_file_in_upper_case(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo", extension=".JPG")
    for table in folder.glob("*.csv"):
        table.write_text(table.read_text().replace(".JPG", ".jpg"))
    competition = load_competition(folder)
    assert competition.train.ids[0] == "00000.jpg"
    assert competition.train.paths[0].name == "00000.JPG"


@pytest.mark.parametrize("images", ["val_images", "validation_images", "val", "validation"])
@pytest.mark.parametrize("table", ["val.csv", "validation.csv"])
def test_validation_goes_by_its_short_and_its_long_name(folder, table, images):
    (folder / "val.csv").rename(folder / table)
    (folder / "val_images").rename(folder / images)
    assert {path.parent.name for path in load_competition(folder).val.paths} == {images}


def test_a_competition_without_validation_has_an_empty_one(make_competition, tmp_path):
    competition = load_competition(make_competition(tmp_path / "zoo", with_val=False))
    assert len(competition.val) == 0
    assert competition.val.labels.dtype == np.int64


def test_each_split_takes_its_images_from_its_own_folder_though_the_names_are_the_same(folder):
    for split in ("val", "test"):
        column = lines_of(folder / "train.csv")[1:13]
        (folder / f"{split}_images").rename(folder / "old")
        shutil.copytree(folder / "train_images", folder / f"{split}_images")
        shutil.rmtree(folder / "old")
        rows = column if split == "val" else [line.split(",")[0] for line in column]
        write_lines(folder / f"{split}.csv", [lines_of(folder / f"{split}.csv")[0], *rows])
    (folder / "sample_submission.csv").unlink()
    competition = load_competition(folder)
    assert competition.train.ids[:12] == competition.val.ids == competition.test.ids
    assert {path.parent.name for path in competition.test.paths} == {"test_images"}


def test_ids_may_name_a_folder_below(folder):
    below = folder / "train_images" / "farm"
    below.mkdir()
    (folder / "train_images" / "00000.png").rename(below / "00000.png")
    table = folder / "train.csv"
    table.write_text(table.read_text().replace("00000.png", "farm/00000.png"))
    assert load_competition(folder).train.paths[0] == below / "00000.png"


def test_ids_may_begin_with_the_folder_of_the_images(folder):
    table = folder / "train.csv"
    table.write_text(table.read_text().replace("0000", "train_images/0000"))
    for number in range(10, 30):
        table.write_text(table.read_text().replace(f"000{number}", f"train_images/000{number}"))
    competition = load_competition(folder)
    assert competition.train.ids[0] == "train_images/00000.png"
    assert competition.train.paths[0] == folder / "train_images" / "00000.png"


def test_a_folder_in_a_folder_is_the_competition(make_competition, tmp_path):
    make_competition(tmp_path / "outer" / "inner")
    (tmp_path / "outer" / "inner_answers.csv").unlink()
    assert load_competition(tmp_path / "outer").name == "outer"


# --- columns


def test_the_label_is_what_train_has_and_test_lacks(make_competition, tmp_path):
    competition = load_competition(make_competition(tmp_path / "zoo", with_sample=False))
    assert (competition.image_column, competition.label_column) == ("Image", "Class")
    assert competition.submission_ids == competition.test.ids


def test_the_sample_decides_between_columns_and_sets_the_order(folder):
    lines = lines_of(folder / "train.csv")
    write_lines(folder / "train.csv", [f"{lines[0]},Source", *(f"{line},web" for line in lines[1:])])
    sample = lines_of(folder / "sample_submission.csv")
    write_lines(folder / "sample_submission.csv", [sample[0], *reversed(sample[1:])])
    competition = load_competition(folder)
    assert competition.label_column == "Class"
    assert competition.submission_ids == tuple(reversed(competition.test.ids))


def test_the_other_spelling_of_the_sample_is_read_too(folder):
    sample = folder / "sample_submission.csv"
    write_lines(folder / "sampleSubmission.csv", [lines_of(sample)[0], *reversed(lines_of(sample)[1:])])
    sample.unlink()
    competition = load_competition(folder)
    assert competition.submission_ids == tuple(reversed(competition.test.ids))


def test_a_submission_has_the_header_of_the_sample(folder):
    sample = lines_of(folder / "sample_submission.csv")
    write_lines(folder / "sample_submission.csv", ["Id,Category", *sample[1:]])
    competition = load_competition(folder)
    assert (competition.image_column, competition.label_column) == ("Id", "Category")
    assert competition.classes == ("ant", "bee", "cat")


def test_the_image_column_is_the_one_whose_values_name_images(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo", with_sample=False, with_val=False, ids_with_extension=False)
    for name in ("train.csv", "test.csv"):
        lines = lines_of(folder / name)
        rows = [f"{number},{line}" for number, line in enumerate(lines[1:])]
        write_lines(folder / name, [f"row,{lines[0]}", *rows])
    assert load_competition(folder).image_column == "Image"


def test_further_columns_are_left_alone(folder):
    for name in ("train.csv", "val.csv", "test.csv"):
        lines = lines_of(folder / name)
        write_lines(folder / name, [f",{lines[0]},Camera", *(f"7,{line}," for line in lines[1:])])
    competition = load_competition(folder)
    assert competition.train.ids[0] == "00000.png"
    assert competition.classes == ("ant", "bee", "cat")


def test_options_name_the_columns_before_the_sample_does(folder):
    lines = lines_of(folder / "train.csv")
    rows = [f"{line},{'SML'[number % 3]}" for number, line in enumerate(lines[1:])]
    write_lines(folder / "train.csv", [f"{lines[0]},Size", *rows])
    (folder / "val.csv").unlink()
    competition = load_competition(folder, label_column="Size", image_column="Image")
    assert competition.classes == ("L", "M", "S")


def test_a_known_competition_names_its_columns(make_competition, tmp_path):
    folder = make_competition(tmp_path / "files", with_sample=False, with_val=False)
    lines = lines_of(folder / "train.csv")
    write_lines(folder / "train.csv", [f"{lines[0]},Source", *(f"{line},web" for line in lines[1:])])
    competition = load_competition(folder, name="unibuc-dhc-2023")
    assert (competition.name, competition.label_column) == ("unibuc-dhc-2023", "Class")
    assert "cannot tell" in refusal(folder)


def test_columns_that_cannot_be_told_are_named_with_the_options(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo", with_sample=False, with_val=False)
    lines = lines_of(folder / "train.csv")
    write_lines(folder / "train.csv", [f"{lines[0]},Source", *(f"{line},web" for line in lines[1:])])
    message = refusal(folder)
    assert "train.csv: cannot tell which is the label column: Class, Source" in message
    assert "--label-column" in message


def test_an_image_column_that_cannot_be_told_is_named_with_the_option(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo", with_sample=False, with_val=False)
    for name in ("train.csv", "test.csv"):
        lines = lines_of(folder / name)
        rows = [f"{line.split(',')[0]},{line}" for line in lines[1:]]
        write_lines(folder / name, [f"Picture,{lines[0]}", *rows])
    message = refusal(folder)
    assert "test.csv: cannot tell which is the image column: Picture, Image" in message
    assert "--image-column" in message


# --- cells


def test_ids_stay_as_they_are_spelled(make_competition, tmp_path):
    competition = load_competition(make_competition(tmp_path / "zoo", ids_with_extension=False))
    assert competition.train.ids[:2] == ("00000", "00001")


def test_integer_labels_stay_integers_in_their_order(make_competition, tmp_path):
    competition = load_competition(make_competition(tmp_path / "zoo", classes=(2, 10, -1)))
    assert competition.classes == (-1, 2, 10)


@pytest.mark.parametrize("classes", [("01", "2", "3"), ("1.0", "2.0"), ("Acer_Opalus", "7"), ("NA", "nan", "None")])
def test_labels_that_are_not_all_integers_stay_as_they_are_spelled(make_competition, tmp_path, classes):
    competition = load_competition(make_competition(tmp_path / "zoo", classes=classes))
    assert competition.classes == tuple(sorted(classes))


def test_labels_are_indices_into_the_classes(folder):
    competition = load_competition(folder)
    spelled = [line.split(",")[1] for line in lines_of(folder / "val.csv")[1:]]
    assert [competition.classes[label] for label in competition.val.labels] == spelled
    assert competition.test.labels is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\N{BYTE ORDER MARK}" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\r\r\n"),
        lambda text: text + "\n\n\r\n",
        lambda text: text + ",\n,,\n",
        lambda text: text + '""\n  \n',
        lambda text: text.rstrip("\n"),
        lambda text: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.split()),
    ],
    ids=["bom", "crlf", "cr", "crcrlf", "blank lines", "commas", "empty cells", "no line end", "quoted"],
)
def test_marks_line_ends_and_blank_lines_are_read_without_complaint(folder, change):
    expected = load_competition(folder)
    for table in folder.glob("*.csv"):
        table.write_bytes(change(table.read_text()).encode())
    competition = load_competition(folder)
    for split in ("train", "val", "test"):
        assert getattr(competition, split).ids == getattr(expected, split).ids
    assert competition.classes == expected.classes
    assert competition.submission_ids == expected.submission_ids


# --- faults


@pytest.mark.parametrize(
    ("table", "row", "replacement", "words"),
    [
        ("train.csv", 3, ",ant", "train.csv: empty id (column 'Image') in 1 row (row 3); fill them in"),
        ("train.csv", 3, "  ,ant", "train.csv: empty id (column 'Image') in 1 row (row 3)"),
        ("test.csv", 4, '""', "test.csv: empty id (column 'Image') in 1 row (row 4)"),
        ("val.csv", 2, ",ant", "val.csv: empty id (column 'Image') in 1 row (row 2)"),
        (
            "train.csv",
            5,
            "00000.png,ant",
            "train.csv: duplicate id (00000.png) in 2 rows (row 2, 5); keep one",
        ),
        ("val.csv", 3, "50000.png,ant", "val.csv: duplicate id (50000.png) in 2 rows (row 2, 3)"),
        ("train.csv", 6, "00004.png,", "train.csv: missing label (column 'Class') in 1 row (row 6); fill"),
        ("val.csv", 6, "50004.png, ", "val.csv: missing label (column 'Class') in 1 row (row 6)"),
        ("train.csv", 7, "lost.png,ant", "train.csv: no image in"),
        (
            "val.csv",
            7,
            "lost.png,ant",
            "val_images for 1 id: lost.png; put the files there or take the rows out",
        ),
        ("val.csv", 8, "50006.png,dog", "val.csv: label that train.csv never shows (dog) in 1 row (row 8)"),
        (
            "train.csv",
            2,
            "../zoo/00000.png,ant",
            "train.csv: a way out of the competition's folder for 1 id: ../zoo",
        ),
        (
            "train.csv",
            2,
            "/etc/00000.png,ant",
            "train.csv: a way out of the competition's folder for 1 id: /etc",
        ),
        (
            "train.csv",
            2,
            "C:\\00000.png,ant",
            "train.csv: a way out of the competition's folder for 1 id: C:",
        ),
        ("test.csv", 2, "a/../../b.png", "test.csv: a way out of the competition's folder for 1 id: a/.."),
        (
            "train.csv",
            9,
            "00007.png,ant,1",
            "train.csv: not 2 cells, as in the header, in 1 row (row 9); fix",
        ),
        ("val.csv", 3, "50001.png", "val.csv: not 2 cells, as in the header, in 1 row (row 3)"),
        ("train.csv", 4, '"00002.png,ant', "train.csv: not a CSV at line 31"),
        ("train.csv", 4, "00002.png,\0", "train.csv: a NUL character in line 4"),
        (
            "train.csv",
            1,
            "00031.png,ant",
            "train.csv: row 1 names an image (00031.png), so the header row is",
        ),
        ("train.csv", 1, "Image,Image", "train.csv: the header names Image twice; rename one"),
        (
            "train.csv",
            1,
            "Image,Clas",
            "val.csv: no column 'Clas' (did you mean 'Class'?), only Image, Class",
        ),
        ("test.csv", 1, "image", "train.csv: cannot tell"),
    ],
)
def test_a_fault_is_refused_with_file_row_count_and_remedy(folder, table, row, replacement, words):
    lines = lines_of(folder / table)
    lines[row - 1] = replacement
    write_lines(folder / table, lines)
    if table == "test.csv" or row == 1:
        (folder / "sample_submission.csv").unlink()
    if words.startswith("train.csv: cannot tell"):
        write_lines(folder / "train.csv", [f"{line},x" for line in lines_of(folder / "train.csv")])
        words = "cannot tell which"
    assert words in refusal(folder)


def test_many_faults_are_counted_and_the_first_few_named(folder):
    lines = lines_of(folder / "train.csv")
    write_lines(folder / "train.csv", [lines[0], *(f"lost_{line}" for line in lines[1:])])
    message = refusal(folder)
    assert "train.csv: no image" in message
    assert " for 30 ids: lost_00000.png, lost_00001.png, lost_00002.png and 27 more" in message


def test_row_numbers_are_those_of_a_spreadsheet_though_lines_are_blank(folder):
    lines = lines_of(folder / "train.csv")
    write_lines(folder / "train.csv", [lines[0], "", '"00000.png",ant', "", ",ant", *lines[4:]])
    assert "(row 5)" in refusal(folder)


@pytest.mark.parametrize("table", ["train.csv", "val.csv", "test.csv", "sample_submission.csv"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"Image,Class\n", "the table is empty, a header row only"),
        ("Image,Class\n1,è\n".encode("cp1252"), "not UTF-8 text (byte 15), perhaps cp1252 or cp1250; save it as"),
        ("Image,Class\n1,жук\n".encode("cp1251"), "not UTF-8 text (byte 15), perhaps GBK or cp1251; save it as"),
        ("Image,Class\n1,2\n".encode("utf-16")[:-1], "not UTF-16 text"),
        (b"Image;Class\n1;2\n1;2;3\n", "the first row has semicolons between its cells, but not every row has as"),
    ],
)
def test_an_empty_or_undecodable_table_is_refused(folder, table, content, words):
    (folder / table).write_bytes(content)
    assert f"{table}: {words}" in refusal(folder)


def test_a_folder_without_anything_to_train_on_is_refused_with_what_is_there(folder):
    (folder / "train.csv").rename(folder / "tarin.cvs")
    (folder / "val.csv").unlink()
    shutil.rmtree(folder / "train_images")
    assert "no train.csv there (did you mean 'tarin.cvs'?), only sample_submission.csv, tarin.cvs" in refusal(folder)


def test_a_folder_with_nothing_to_predict_is_refused_with_what_is_missing(folder):
    for name in ("test.csv", "sample_submission.csv"):
        (folder / name).unlink()
    shutil.rmtree(folder / "test_images")
    assert "no test.csv there" in refusal(folder)


def test_a_folder_in_place_of_a_table_is_refused(folder):
    (folder / "train.csv").unlink()
    (folder / "train.csv").mkdir()
    assert "train.csv: a folder, not a CSV; name a file in it" in refusal(folder)


def test_a_missing_folder_is_refused(tmp_path):
    assert "nowhere: no such folder" in refusal(tmp_path / "nowhere")


def test_two_validation_tables_are_refused(folder):
    shutil.copy(folder / "val.csv", folder / "validation.csv")
    assert "both val.csv and validation.csv are there" in refusal(folder)


def test_an_id_without_extension_that_means_two_files_is_refused(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo", ids_with_extension=False)
    shutil.copy(folder / "train_images" / "00003.png", folder / "train_images" / "00003.jpg")
    message = refusal(folder)
    assert "train.csv: several images in" in message
    assert "for 1 id: 00003 (00003." in message and "); write the ids with their folders and extensions" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_column": "clas"}, "train.csv: no column 'clas' (did you mean 'Class'?), only Image, Class"),
        ({"image_column": "Imagge"}, "no column 'Imagge' (did you mean 'Image'?), only Image"),
        ({"label_column": "Image"}, "column 'Image' cannot be both the image and the label column"),
        ({"image_column": "Class"}, "column 'Class' cannot be both the image and the label column"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_the_nearest_name(folder, options, words):
    assert words in refusal(folder, **options)


def test_a_column_is_found_in_upper_and_lower_case_where_only_one_is_meant():
    assert column_called("class", ("Image", "Class")) == "Class"
    assert column_called("id", ("ID", "id")) == "id"
    assert column_called("Id", ("ID", "id")) is None


def test_a_train_table_of_one_class_is_refused(make_competition, tmp_path):
    folder = make_competition(tmp_path / "zoo", classes=("ant",))
    assert "train.csv: column 'Class' shows one class only (ant)" in refusal(folder)


def test_a_sample_that_lacks_test_ids_is_refused(folder):
    sample = folder / "sample_submission.csv"
    write_lines(sample, lines_of(sample)[:-2])
    assert "sample_submission.csv: lacks 2 test ids" in refusal(folder)


def test_a_sample_with_other_ids_is_refused(folder):
    sample = folder / "sample_submission.csv"
    write_lines(sample, [*lines_of(sample), "stranger.png,ant"])
    assert "sample_submission.csv: has 1 id not in test.csv: stranger.png" in refusal(folder)


def test_a_sample_of_many_columns_is_refused(folder):
    sample = folder / "sample_submission.csv"
    write_lines(sample, [f"{line},x" for line in lines_of(sample)])
    assert "sample_submission.csv: the columns Image, Class, x, not an id and a label" in refusal(folder)


def test_names_with_control_characters_stay_on_one_line(folder):
    lines = lines_of(folder / "train.csv")
    write_lines(folder / "train.csv", [*lines, '"new\nline\x1b\u2028.png",ant'])
    assert r"new\nline\x1b\u2028.png" in refusal(folder)


# --- known competitions


@pytest.mark.parametrize("path", sorted(KNOWN.iterdir()), ids=lambda path: path.name)
def test_every_file_about_a_known_competition_is_valid(path):
    assert path.suffix == ".toml"
    assert read_known(path.stem, path.parent) != KnownCompetition()


def test_a_competition_without_such_a_file_gets_the_defaults(tmp_path):
    assert read_known("zoo", tmp_path) == KnownCompetition(metric=None, symmetries=None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('metrik = "accuracy"', "metrik: no such key (did you mean 'metric'?); fix that key"),
        ('metric = "acuracy"', "(did you mean 'accuracy'?)"),
        ('symmetries = "miror"', "(did you mean 'mirror'?); fix that key"),
        ("image_column = 3", "image_column: Input should be a valid string; fix that key"),
    ],
)
def test_a_typo_about_a_known_competition_is_refused_with_the_nearest_name(tmp_path, line, words):
    (tmp_path / "zoo.toml").write_text(line)
    with pytest.raises(UserError) as caught:
        read_known("zoo", tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'zoo.toml'}: {line.split()[0]}: ")
    assert words in str(caught.value)


# --- writing


def test_a_written_table_has_plain_cells_and_line_feeds(tmp_path):
    write_table(tmp_path / "new" / "a.csv", {"Image": ("007", "x,y"), "Class": np.array([3, -1])})
    assert (tmp_path / "new" / "a.csv").read_bytes() == b'Image,Class\n007,3\n"x,y",-1\n'


@pytest.mark.parametrize(
    "cells", [("NA", "nan", "", "None"), ("1e5", "007", "1.0", " 7 "), ('a"b', "a, b", "a\nb", "é\u2028")]
)
def test_a_written_table_is_read_back_cell_by_cell(tmp_path, cells):
    write_table(tmp_path / "a.csv", {"Image": "abcd", "Class": cells})
    assert read_table(tmp_path / "a.csv").rows == tuple(zip("abcd", cells, strict=True))


# --- anything at all

_ODD = st.text(st.sampled_from("a7,\"\n\r \t#\\'\u2028\x85\x1cé"), max_size=4) | st.sampled_from(
    ["NA", "nan", "None", "1e5", "007", "1,000", "-0", "true", "2020-01-01"]
)


@settings(max_examples=200, deadline=None)
@given(cells=st.lists(_ODD, min_size=1, max_size=5), line_end=st.sampled_from(["\n", "\r", "\r\n"]))
def test_every_cell_is_read_as_it_is_spelled_and_every_row_keeps_its_number(tmp_path_factory, cells, line_end):
    path = tmp_path_factory.mktemp("odd") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=line_end)
        writer.writerow(["Image", "Class"])
        file.write(line_end)
        writer.writerows(("x", cell) for cell in cells)
    table = read_table(path)
    assert table.column("Class") == tuple(cells)
    assert table.numbers == tuple(range(3, 3 + len(cells)))


_CELLS = st.sampled_from(
    [
        "Image",
        "Class",
        "Id",
        "00000.png",
        "00001.png",
        "00002.png",
        "ant",
        "bee",
        "7",
        "",
        " ",
        "../x.png",
        "é\u2028",
    ]
)
_TABLES = st.lists(st.lists(_CELLS, max_size=3).map(",".join), max_size=6).map("\n".join)
_BYTES = st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode), _TABLES.map(str.encode), st.none())


@pytest.fixture(scope="module")
def little_zoo(make_competition, tmp_path_factory):
    folder = make_competition(
        tmp_path_factory.mktemp("any") / "zoo", train=3, val=3, test=3, size=(2, 2), layout="images"
    )
    return folder, {table: table.read_bytes() for table in folder.glob("*.csv")}


@settings(max_examples=300, deadline=None)
@given(contents=st.fixed_dictionaries(dict.fromkeys(("train", "val", "test", "sample_submission"), _BYTES)))
def test_any_bytes_give_a_competition_or_one_line(little_zoo, contents):
    folder, originals = little_zoo
    for table, original in originals.items():
        content = contents[table.stem]
        table.write_bytes(original if content is None else content)
    try:
        competition = load_competition(folder)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).isprintable()
    else:
        assert isinstance(competition, Competition)
        assert len(competition.train.ids) == len(competition.train.paths) == len(competition.train.labels) > 0
        assert sorted(competition.submission_ids) == sorted(competition.test.ids)


# --- encodings and delimiters


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_encoding_that_is_certain_is_read(tmp_path, encoding, line_end):
    (tmp_path / "a.csv").write_bytes(line_end.join(["Image,Class", "Käfer.png,Möhre", ""]).encode(encoding))
    assert read_table(tmp_path / "a.csv").rows == (("Käfer.png", "Möhre"),)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_read_if_all_rows_have_it(tmp_path, delimiter):
    rows = [("Image", "Class"), ("a.png", "cat, black"), ("b.png", "dog")]
    (tmp_path / "a.csv").write_text("".join(delimiter.join(row) + "\n" for row in rows))
    assert read_table(tmp_path / "a.csv").rows == tuple(rows[1:])


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_line_that_names_the_delimiter_is_no_row(tmp_path, line):
    (tmp_path / "a.csv").write_text(f"{line}\nImage;Class\na.png;1,5\n")
    table = read_table(tmp_path / "a.csv")
    assert (table.columns, table.rows) == (("Image", "Class"), (("a.png", "1,5"),))


def test_a_plain_table_is_read_with_commas_and_in_utf_8_alone(tmp_path):
    (tmp_path / "a.csv").write_text("Image;Class\na.png;cat\n")
    assert read_table(tmp_path / "a.csv", is_plain=True).columns == ("Image;Class",)
    (tmp_path / "a.csv").write_bytes("Image,Class\nä.png,cat\n".encode("cp1252"))
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_table(tmp_path / "a.csv", is_plain=True)


def test_a_table_without_a_header_is_read_from_its_first_row(tmp_path):
    (tmp_path / "a.csv").write_text("a.png,0\nb.png,1\n")
    table = read_table(tmp_path / "a.csv", has_header=False)
    assert (table.columns, table.numbers) == (("0", "1"), (1, 2))
