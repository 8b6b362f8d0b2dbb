"""The submission: what is written can be read back, and what a board would refuse is refused in words."""

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from competition.errors import UserError
from competition.spec import Competition
from competition.submission import check_submission, put_in_order, write_submission
from competition.task import Task
from tests.contest import IDS, asking, contest


@pytest.fixture
def check(tmp_path):
    def check(content: str | bytes, competition: Competition | None = None) -> str:
        path = tmp_path / "answer.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return check_submission(competition or contest(), path)

    return check


GOOD = "Image,Class\n00017.png,3\nb.png,0\nc.png,3\nd.png,10\n"


def test_the_label_of_each_test_image_is_written_in_its_own_type(tmp_path):
    path = tmp_path / "submissions" / "submission.csv"
    write_submission(contest(), [3, 0, 3, 10], path)
    assert path.read_bytes() == GOOD.encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["submission.csv"]


def test_labels_go_to_the_ids_in_the_order_of_the_sample(tmp_path):
    competition = contest(order=("d.png", "c.png", "b.png", "00017.png"))
    write_submission(competition, [10, 3, 0, 0], tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "Image,Class\nd.png,10\nc.png,3\nb.png,0\n00017.png,0\n"
    assert check_submission(competition, tmp_path / "s.csv") == (
        "4 rows, 3 of 3 classes, order of sample_submission.csv"
    )


def test_names_with_commas_and_quotes_are_quoted(tmp_path):
    competition = contest(classes=('a "big" one', "b, c", "ü"))
    write_submission(competition, ['a "big" one', "b, c", "ü", "b, c"], tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        assert [row[1] for row in csv.reader(file)][1:] == ['a "big" one', "b, c", "ü", "b, c"]


def test_what_the_check_refuses_is_not_written_and_the_former_file_stays(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("former")
    with pytest.raises(UserError, match=r"class not in train\.csv \(7\)"):
        write_submission(contest(), [0, 0, 7, 0], path)
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("00017.png", '"00017.png"'),
    ],
)
def test_a_good_file_is_counted_whatever_its_line_ends(check, content):
    assert check(content) == "4 rows, 3 of 3 classes, order of test.csv"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ("Image,Class\n", "the table is empty"),
        (b"Image,Class\n\xff,3\n", "not UTF-8 text"),
        (GOOD.replace("b.png,0", "b.png,0,0"), r"not 2 cells.* in 1 row \(row 3\)"),
        (GOOD.replace(",", ";"), r"the header is Image;Class but must be Image,Class"),
        (GOOD.replace("Class", "label"), r"the header is Image,label but must be Image,Class"),
        ("Class,Image\n3,b.png\n", r"the header is Class,Image but must be Image,Class"),
        (
            ",Image,Class\n0,b.png,3\n",
            r"extra index column in front \(,Image,Class\); write it with to_csv\(index=False\)",
        ),
        ("Unnamed: 0,Image,Class\n0,b.png,3\n", "extra index column in front"),
        ("Unnamed: 0,id,label\n0,b.png,3\n", "extra index column in front"),
        (GOOD.replace("b.png,", ","), r"empty id in 1 row \(row 3\); copy the ids from test\.csv"),
        (GOOD.replace("b.png", "x.png"), r"id not in test\.csv \(x\.png\) in 1 row \(row 3\)"),
        (GOOD.replace("00017.png", "17"), r"not in test\.csv \(17\) \(did you mean '00017\.png'\?\) in 1 row"),
        (GOOD + "d.png,3\n", r"duplicate id \(d\.png\) in 2 rows \(row 5, 6\); keep one row of each"),
        (
            GOOD.replace("d.png,10\n", "").replace("b.png,0\n", ""),
            r"2 of 4 ids missing: b\.png, d\.png; add a row",
        ),
        (GOOD.replace("b.png,0", "b.png,"), r"no prediction in 1 row \(row 3\); give each id a class"),
        (
            GOOD.replace(",3\n", ",3.0\n"),
            r"class not in train\.csv \(3\.0\) \(did you mean '3'\?\) in 2 rows \(row 2, 4\); "
            r"write the 3 classes as in train\.csv: 0, 3, 10$",
        ),
        (GOOD.replace(",0\n", ", 0\n"), r"\( 0\) \(did you mean '0'\?\) in 1 row \(row 3\)"),
        (
            "Image,Class\nb.png,0\n00017.png,3\nc.png,3\nd.png,10\n",
            r"the rows are not in the order of test\.csv: row 2 is b\.png but must be 00017\.png; "
            r"sort the rows as in test\.csv",
        ),
    ],
)
def test_each_fault_is_told_in_its_own_words(check, content, words):
    with pytest.raises(UserError, match=words) as raised:
        check(content)
    assert "answer.csv: " in str(raised.value)


def test_a_file_without_a_header_is_told_to_add_one(check):
    competition = contest(ids=("00017", "b"))
    with pytest.raises(UserError, match="no header row, the first row is 00017,3; add the header Image,Class"):
        check("00017,3\nb,0\n", competition)


def test_a_misspelt_class_gets_the_nearest_name(check):
    competition = contest(classes=("Acer_Opalus", "Betula", "Quercus"))
    with pytest.raises(UserError, match=r"\(Acer Opalus\) \(did you mean 'Acer_Opalus'\?\) in 4 rows"):
        check("Image,Class\n" + "".join(f"{name},Acer Opalus\n" for name in IDS), competition)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: no such file; check its name and folder"):
        check_submission(contest(), tmp_path / "none.csv")


def test_a_good_file_needs_no_other_order(tmp_path):
    path = tmp_path / "answer.csv"
    path.write_text(GOOD)
    assert put_in_order(contest(), path, tmp_path / "in-order.csv") == path
    assert not (tmp_path / "in-order.csv").exists()


def test_rows_in_an_order_of_their_own_are_written_anew(tmp_path):
    path, corrected = tmp_path / "answer.csv", tmp_path / "in-order.csv"
    path.write_text("Image,Class\nd.png,10\nb.png,0\nc.png,3\n00017.png,3\n")
    assert put_in_order(contest(), path, corrected) == corrected
    assert corrected.read_text() == GOOD


def test_other_faults_are_not_put_right(tmp_path):
    path = tmp_path / "answer.csv"
    path.write_text("Image,Class\nd.png,10\nb.png,0\nc.png,3\n")
    with pytest.raises(UserError, match="1 of 4 ids missing"):
        put_in_order(contest(), path, tmp_path / "in-order.csv")


CLASSES, LABELS = Task(("ant", "bee", "cow")), Task(("moss", "rust", "scab"), "multilabel")
PROBABILITY = asking("probability", Task((0, 1)), "target")
COLUMNS = asking("columns", CLASSES, "ant", "bee", "cow")
SETS = asking("labels", LABELS, "labels")
RANKING = asking("ranking", CLASSES, "kinds", most=2)
CONFIDENCE = asking("confidence", CLASSES, "kind")
NUMBER = asking("number", Task(("x",), "continuous", intervals=((0.0, 1.0),)), "x")


def rows(*cells: str) -> str:
    """Rows of the test images with these cells."""
    return "".join(f"{name},{cell}\n" for name, cell in zip(IDS, cells, strict=True))


@pytest.mark.parametrize(
    ("competition", "cells", "words"),
    [
        (PROBABILITY, ["0.25", "1e-05", "1", "0"], "4 rows, a probability a row, order of sample_submission.csv"),
        (COLUMNS, ["0.5,0.25,0.25", "1,0,0", "0,0,1", "0.2,0.4,0.4"], "4 rows, 3 probabilities a row, "),
        (SETS, ["moss rust", "", "scab", "rust"], "4 rows, 1.00 labels a row, "),
        (RANKING, ["ant bee", "bee ant", "cow", "ant cow"], "4 rows, up to 2 labels a row, "),
        (CONFIDENCE, ["ant 0.5", "", "bee 1e-3", "cow 1"], "4 rows, a label and its confidence a row, "),
        (NUMBER, ["3.5", "-1", "100", "0"], "4 rows, numbers from -1 to 100, "),
    ],
    ids=["probability", "columns", "labels", "ranking", "confidence", "number"],
)
def test_a_good_file_of_each_form_is_written_counted_and_kept_when_sorted(competition, cells, words, tmp_path):
    path, shuffled = tmp_path / "s.csv", tmp_path / "shuffled.csv"
    write_submission(competition, [tuple(cell.split(",")) for cell in cells], path)
    header = ",".join(competition.form.header) + "\n"
    assert path.read_text() == header + rows(*cells)
    assert check_submission(competition, path).startswith(words)
    shuffled.write_text(header + "".join(reversed(rows(*cells).splitlines(keepends=True))))
    corrected = put_in_order(competition, shuffled, tmp_path / "in-order.csv")
    assert corrected.read_text() == path.read_text()


@pytest.mark.parametrize(
    ("competition", "cells", "words"),
    [
        (
            PROBABILITY,
            ["0.5", "high", "0.5", ""],
            r"not a number \(high, \) in 2 rows \(row 3, 5\); write a prob",
        ),
        (PROBABILITY, ["0.5", "nan", "inf", "1"], r"not a number \(nan, inf\) in 2 rows"),
        (PROBABILITY, ["0.5", "1.5", "-0.1", "1"], r"not from 0 to 1 \(1\.5, -0\.1\) in 2 rows \(row 3, 4\)"),
        (COLUMNS, ["1,0,0", "1,0,x", "0,0,1", "0,0,1"], r"not a number \(x\) \(column 'cow'\) in 1 row \(row 3\)"),
        (COLUMNS, ["1,0", "1,0", "0,0", "0,0"], r"not 4 cells, as in the header, in 4 rows"),
        (
            SETS,
            ["moss", "moss dust", "scab", "Rust"],
            r"not in train\.csv \(dust, Rust\) .*in 2 rows \(row 3, 5\)",
        ),
        (SETS, ["moss,rust", "moss", "moss", "moss"], r"not 2 cells, as in the header, in 1 row \(row 2\)"),
        (RANKING, ["ant", "", "bee", "cow"], r"no prediction in 1 row \(row 3\); give each id at least one label"),
        (RANKING, ["ant bee cow", "bee", "bee", "cow"], r"more than 2 labels in 1 row \(row 2\); keep the 2 likeliest"),
        (CONFIDENCE, ["ant", "bee 1", "bee 1", "cow 1"], r"no confidence behind the label in 1 row \(row 2\)"),
        (CONFIDENCE, ["dog 1", "bee 1", "bee 1", "cow 1"], r"class not in train\.csv \(dog\).* in 1 row \(row 2\)"),
        (NUMBER, ["3.5", "3,5", "1", "0"], r"not 2 cells, as in the header, in 1 row \(row 3\)"),
        (NUMBER, ["3.5", "1e999", "1", "0"], r"not a number \(1e999\) in 1 row \(row 3\); write a number$"),
    ],
)
def test_faults_of_each_form_are_told_with_their_rows(check, competition, cells, words):
    with pytest.raises(UserError, match=words) as raised:
        check(",".join(competition.form.header) + "\n" + rows(*cells), competition)
    assert is_one_line(raised.value)


def test_hard_answers_where_probabilities_are_asked_for_are_remarked_on(check):
    assert "(only 0 and 1; the metric may want values between)" in check("id,target\n" + rows(*"0110"), PROBABILITY)
    wide = "id,ant,bee,cow\n" + rows("0.5,0,0", "1,0,0", "0.5,0.5,0.5", "0.5,0.5,0")
    assert "(2 rows not summing to 1)" in check(wide, COLUMNS)


def test_the_id_may_stand_in_another_place(check, tmp_path):
    form = replace(contest().form, header=("Class", "Image"), id_at=1)
    competition = replace(contest(), form=form)
    write_submission(competition, [3, 0, 3, 10], tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "Class,Image\n3,00017.png\n0,b.png\n3,c.png\n10,d.png\n"
    with pytest.raises(UserError, match=r"the header is Image,Class but must be Class,Image"):
        check(GOOD, competition)


def test_a_form_without_header_and_ids_is_only_the_answers(check, tmp_path):
    competition = replace(contest(), form=replace(contest().form, header=(), ids=()))
    write_submission(competition, [3, 0, 3, 10], tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "3\n0\n3\n10\n"
    with pytest.raises(UserError, match=r"3 rows, but test\.csv has 4; write a row for each image"):
        check("3\n0\n3\n", competition)
    with pytest.raises(UserError, match=r"class not in train\.csv \(7\) in 1 row \(row 1\)"):
        check("7\n0\n3\n0\n", competition)


def test_labels_are_written_as_the_sample_spells_them(tmp_path):
    competition = replace(contest(), form=replace(contest().form, spelled={"0": "0.0", "3": "3.0", "10": "10.0"}))
    write_submission(competition, ["3.0", "0.0", "3.0", "10.0"], tmp_path / "s.csv")
    with pytest.raises(UserError, match=r"class not in train\.csv \(3, 0, 10\)"):
        write_submission(competition, [3, 0, 3, 10], tmp_path / "s.csv")


def is_one_line(error: UserError) -> bool:
    return len(str(error).splitlines()) == 1


cells = st.sampled_from([*IDS, "0", "3", "10", "3.0", "", " ", "Image", "Class", "Unnamed: 0", "\n", "\u2028x"])
tables = st.lists(st.lists(cells | st.text(max_size=5), min_size=1, max_size=3), max_size=6)


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | tables.map(as_csv))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_refused_in_one_line(check, content):
    with pytest.raises(UserError) as raised:
        check(content)
    assert is_one_line(raised.value)


@given(st.lists(st.tuples(st.sampled_from(IDS) | cells, cells), max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_the_test_ids_in_order_with_known_classes_pass(check, rows):
    ids, labels = [row[0] for row in rows], [row[1] for row in rows]
    valid = tuple(ids) == IDS and set(labels) <= {"0", "3", "10"}
    try:
        check(as_csv([["Image", "Class"], *map(list, rows)]))
    except UserError as error:
        assert not valid
        assert is_one_line(error)
    else:
        assert valid


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(st.lists(names.filter(str.strip), min_size=2, max_size=5, unique=True), st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_classes_are_called_what_is_written_reads_back_unchanged(tmp_path, classes, data):
    labels = data.draw(st.lists(st.sampled_from(classes), min_size=4, max_size=4))
    write_submission(contest(classes=tuple(sorted(classes))), labels, tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [[name, label] for name, label in zip(IDS, labels, strict=True)]
