import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competition.metrics import LOG_LOSS
from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import select_blend
from pipeline.report import figures, model_details
from pipeline.report.figure_folder import FigureFolder
from pipeline.report.page import rendered, write_report
from pipeline.report.rendering import measure
from pipeline.report.sections import data

FIGURES = {
    "comparison",
    *(f"{model}-{kind}" for model in ("blend", "network", "neighbours") for kind in ("confusion", "roc", "images")),
    "network-training",
    "neighbours-grid",
    "class-images",
    "class-counts",
    "channels",
    "submissions",
}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What an HTML file holds; every element that is opened has to be closed in its turn."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def parsed(page: Path) -> Page:
    return Page(page)


def rows(page: Path, anchor: str = "") -> list[list[str]]:
    """The cells of all rows of the tables of a section, or of all tables, in their order."""
    source = page.read_text(encoding="utf-8").partition(f'<section id="{anchor}"' if anchor else "<body>")[2]
    found = re.findall(r"<tr.*?</tr>", source.partition("</section>" if anchor else "</body>")[0], re.DOTALL)
    return [re.findall(r"<td.*?>(.*?)</td>", row) for row in found]


def test_the_page_is_whole_and_lies_beside_the_submission(context, page, parsed):
    assert page == context.submission.with_name("report.html")
    assert parsed.open == []
    assert parsed.elements[0][0] == "html"


def test_every_figure_is_a_png_beside_the_page_and_none_is_left_of_an_earlier_report(page):
    paths = list((page.parent / "report").iterdir())
    assert {path.stem for path in paths} >= FIGURES
    assert "forgotten" not in {path.stem for path in paths}
    for path in paths:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert image.width == pytest.approx(1050, abs=1)


def test_every_figure_is_embedded_with_words_that_stand_for_it(parsed):
    images = parsed.all("img")
    assert len(images) >= len(FIGURES)
    for attributes in images:
        kind, content = re.fullmatch(r"data:image/(png|webp);base64,(.+)", attributes["src"]).groups()
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            image.load()
            assert image.format.lower() == kind
            assert image.size == (int(attributes["width"]), int(attributes["height"]))
        assert len(attributes["alt"]) > 20


def test_nothing_is_loaded_from_anywhere(page, parsed):
    ids = {f"#{attributes['id']}" for _, attributes in parsed.elements if "id" in attributes}
    links = {value for _, attributes in parsed.elements for name, value in attributes.items() if name == "href"}
    assert links and links <= ids
    assert {attributes["src"].split(":")[0] for _, attributes in parsed.elements if "src" in attributes} == {"data"}
    source = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in source
    assert not re.search(r"https?:|url\((?!data:)|@import|<script|<link|<iframe", source)


def test_class_names_are_shown_as_they_are_and_never_as_markup(parsed):
    assert "<script>alert('x')</script>" in parsed.text
    assert 'a & "b"' in parsed.text
    assert "猫" in parsed.text
    assert not parsed.all("script")


def test_a_class_that_the_figures_cannot_spell_has_a_number_there_and_on_the_page(context):
    place = context.competition.classes.index("猫")
    assert context.drawn_names[place] == f"no. {place}"
    assert context.class_names[place] == f"no. {place}: 猫"


def test_the_table_of_models_begins_with_the_blend_and_the_best(page):
    assert [row[0] for row in rows(page, "models") if row] == ["blend", "network", "neighbours"]


def test_a_row_of_the_table_tells_what_the_run_measured(context, page):
    row = next(row for row in rows(page, "models") if row and row[0] == "network")
    _, accuracy, interval, f1, loss, precision, seconds, an_epoch, parameters, reported = row
    score = context.runs["network"].score
    assert (accuracy, interval) == (f"{score.value:.4f}", f"{score.low:.3f}–{score.high:.3f}")
    assert precision == f"{context.evaluations['network'].precision_macro:.3f}"
    assert (f1, loss) == (f"{score.values['f1-macro']:.4f}", f"{score.values['log-loss']:.4f}")
    assert (seconds, an_epoch, parameters, reported) == ("12.0", "3.0", "1,234", "0.890")


@pytest.mark.parametrize("model", ["blend", "network", "neighbours"])
def test_a_class_table_holds_the_figures_of_each_class(context, page, model):
    evaluation, place = context.evaluations[model], context.competition.classes.index("$x^")
    measured = (evaluation.precision, evaluation.recall, evaluation.f1, evaluation.auc)
    figures = [str(evaluation.support[place]), *(measure(values[place]) for values in measured)]
    assert ["<bdi>$x^</bdi>", *figures] in rows(page)


def test_the_best_point_of_a_grid_is_marked(page):
    marked = [row for row in re.findall(r'<tr class="strong">.*?</tr>', page.read_text(), re.S) if "cosine" in row]
    assert [re.findall(r"<td.*?>(.*?)</td>", row) for row in marked] == [["cosine", "5", "0.5000"]]


def test_the_page_says_what_its_numbers_are_measured_on(parsed):
    words = " ".join(parsed.text.split())
    assert "measured on 40 validation images" in words
    assert "each fifth of the images was predicted by a blend that was chosen on the other four fifths" in words


def test_the_images_of_each_split_are_counted(context, parsed, tmp_path):
    classes = f"{len(context.competition.classes)} classes"
    assert f"45 training, 40 validation and 10 test images, {classes}." in " ".join(parsed.text.split())
    val = context.competition.val
    held_out = replace(context, competition=replace(context.competition, train=val, val=val.take([])))
    page = tmp_path / "page.html"
    page.write_text(rendered(held_out, [data.section(held_out, FigureFolder(tmp_path / "figures"))]), encoding="utf-8")
    lead = f"40 training and 10 test images, {classes}; 40 of the training images are used for validation."
    assert lead in " ".join(Page(page).text.split())


def test_a_contest_of_many_classes_in_which_no_model_errs_gets_a_report_too(context, tmp_path, monkeypatch):
    for module, most in ((data, "MOST_SHOWN"), (model_details, "MOST_SHOWN"), (figures, "MOST_BARS")):
        monkeypatch.setattr(module, most, 2)
    val, classes = context.validation, context.competition.classes
    perfect = Predictions(val.ids, np.eye(len(classes))[val.labels], val.labels)
    validated = dict.fromkeys(context.runs, perfect)
    blend = select_blend(validated, val.ids, val.labels, context.metric)
    page = write_report(replace(context, validated=validated, blend=blend, submission=tmp_path / "submission.csv"))
    assert "No validation image was misclassified." in Page(page).text
    said = [attributes["alt"] for attributes in Page(page).all("img")]
    worst = "the 2 classes with the lowest F1"
    confused = "the 2 most confused classes"
    assert f"Confusion matrix of blend, {confused}: 40 of 40 images are classified correctly" in said
    names = context.drawn_names
    assert f"Random images of {worst}: {names[0]}, {names[1]}" in said


@pytest.fixture(scope="module")
def by_log_loss(context, tmp_path_factory) -> Path:
    """The page of the same models where the competition's metric is the log loss."""
    val = context.validation
    context = replace(
        context,
        competition=replace(context.competition, metric=LOG_LOSS),
        blend=select_blend(context.validated, val.ids, val.labels, LOG_LOSS),
        submission=tmp_path_factory.mktemp("log-loss") / "submission.csv",
    )
    return write_report(context)


def test_the_page_shows_the_metric_first_and_accuracy_among_the_columns(context, by_log_loss):
    words = " ".join(Page(by_log_loss).text.split())
    assert "log loss of the blend on validation" in words
    assert "A lower log loss is better." in words
    header = next(line for line in by_log_loss.read_text(encoding="utf-8").splitlines() if ">model</th>" in line)
    columns = re.findall(r"<th(?: .*?)?>(.*?)</th>", header)
    assert columns[:5] == ["model", "log loss", "95 % interval", "accuracy", "macro F1"]
    row = next(row for row in rows(by_log_loss, "models") if row and row[0] == "network")
    values = context.runs["network"].score.values
    assert (row[1], row[3]) == (f"{values['log-loss']:.4f}", f"{values['accuracy']:.4f}")


def test_the_figures_say_which_metric_they_show(by_log_loss):
    """What was tried keeps the metric of the training, which went by accuracy."""
    said = [attributes["alt"] for attributes in Page(by_log_loss).all("img")]
    assert any(each.startswith("Bar chart of log loss on validation") for each in said)
    assert any(each.startswith("accuracy of neighbours on validation over neighbours") for each in said)


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (float("nan"), "–"), (1234.5678, "1,234.568")])
def test_a_number_that_was_not_measured_is_a_dash(value, shown):
    assert measure(value) == shown
