import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from competition.metrics import ACCURACY, LOG_LOSS
from pipeline.report import figures, plots
from pipeline.report.figure_folder import FigureFolder, embedded_webp

MANY = [f"a class with the long name {number:03d}" for number in range(141)]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def ticks(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_a_confusion_matrix_shows_each_row_as_shares_of_its_class():
    axes = figures.confusion(np.array([[3, 1], [0, 2]]), ["ant", "bee"], "x").axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 1]]
    assert sorted(texts(axes)) == ["1", "2", "3"]
    assert ticks(axes.yaxis) == ["ant", "bee"]


def test_answers_outside_the_classes_that_are_drawn_have_a_column_of_their_own():
    axes = figures.confusion(np.array([[3, 0, 1], [0, 2, 2]]), ["ant", "bee"], "x").axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0, 0.25], [0, 0.5, 0.5]]
    assert ticks(axes.xaxis) == ["ant", "bee", "others"]
    assert ticks(axes.yaxis) == ["ant", "bee"]


def test_of_many_classes_some_are_named_and_none_is_annotated():
    axes = figures.confusion(np.eye(141, dtype=int), MANY, "x").axes[0]
    assert texts(axes) == []
    named = dict(zip(axes.get_xticks(), ticks(axes.xaxis), strict=True))
    assert 8 <= len(named) <= figures.MOST_NAMED
    assert all(len(label) <= 14 and label.endswith(MANY[place][-3:]) for place, label in named.items())


def test_models_whose_long_names_look_alike_are_told_apart_by_numbers():
    names = [f"efficientnet-lite0~epochs={epochs},seed=1,size=96" for epochs in (10, 20)]
    axes = plots.agreement(np.array([[1, 0.5], [0.5, 1]]), names, "x").axes[0]
    assert [label[-3:] for label in ticks(axes.yaxis)] == ["  1", "  2"]
    assert ticks(axes.xaxis) == ["1", "2"]


@pytest.mark.parametrize(("models", "last"), [(plots.MOST_BY_NAME, "model 5"), (plots.MOST_BY_NAME + 1, "7")])
def test_many_points_have_numbers_in_place_of_names_which_would_hide_each_other(models, last):
    names, values = [f"model {number}" for number in range(models)], np.linspace(0.1, 0.9, models)
    assert texts(plots.cost(ACCURACY, names, values, values).axes[0])[-1] == last


def test_bars_carry_their_value_and_interval():
    values = np.array([0.9, 0.5])
    axes = figures.comparison(ACCURACY, ["sprint", "svm"], values, values - 0.1, values + 0.05).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.5]
    assert texts(axes) == ["0.900", "0.500"]
    (reach,) = axes.collections[0].get_paths()[:1]
    assert reach.vertices[:, 0] == pytest.approx([0.8, 0.95])


def test_bars_of_a_loss_may_be_longer_than_1_and_say_what_they_are():
    values = np.array([0.5, 3.5])
    axes = figures.comparison(LOG_LOSS, ["sprint", "svm"], values, values - 0.25, values + 0.25).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 3.5]
    assert axes.get_xlim()[1] > 3.75 and max(axes.get_xticks()) >= 3
    assert axes.get_xlabel() == "log loss on validation, with its 95 % interval"


def test_training_curves_hold_the_history_of_every_fold():
    history = {
        name: np.array([0.1, 0.2])
        for name in ("loss", "validation_loss", "accuracy", "validation_accuracy", "learning_rate")
    } | {"epoch": np.array([1, 2])}
    panels = figures.training([history, history], "x").axes
    assert [len(axes.lines) for axes in panels] == [4, 4, 2]


def test_the_best_point_of_a_curve_is_named():
    curves = {"cosine": [(1, 0.25), (3, 0.5)], "manhattan": [(1, 0.1), (3, 0.2)]}
    axes = figures.score_over(ACCURACY, "k", curves, "x").axes[0]
    assert texts(axes) == ["0.500"]
    assert texts(figures.score_over(LOG_LOSS, "k", curves, "x").axes[0]) == ["0.100"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cosine", "manhattan"]


def test_each_split_has_a_panel_of_class_counts():
    counts = {"train": np.array([5, 7]), "test": np.array([1, 0])}
    panels = figures.class_counts(counts, ["ant", "bee"]).axes
    assert [[bar.get_height() for bar in axes.patches] for axes in panels] == [[5, 7], [1, 0]]


@pytest.mark.parametrize(("columns", "count"), [(1, 1), (3, 7), (6, 18)])
def test_images_lie_in_a_contact_sheet_pixel_for_pixel(columns, count):
    side = figures.tile_side(columns)
    tiles = np.random.default_rng(0).integers(256, size=(count, side, side, 3), dtype=np.uint8)
    figure = figures.contact_sheet(tiles, ["a\nb"] * count, "title", columns)
    page = np.asarray(figure.images[0].get_array())
    for place in {0, count - 1}:
        left = figures.GAP + place % columns * (side + figures.GAP)
        strips = np.lib.stride_tricks.sliding_window_view(page[:, left], side, axis=0)  # down the left edge
        top = next(row for row, strip in enumerate(strips) if (tiles[place, :, 0] == strip.T).all())
        assert (page[top : top + side, left : left + side] == tiles[place]).all()
    assert page.shape[1] == figures.WIDTH * figures.DOTS_AN_INCH


@pytest.mark.parametrize("name", ["$x^", r"\frac{", "a_b", "100 %", "ünïcödé", "кот", "x" * 300, ""])
def test_any_name_can_be_drawn(tmp_path, name):
    with figures.style():
        figure = figures.confusion(np.eye(3, dtype=int), [name, "b", "c"], name)
        assert FigureFolder(tmp_path).add("figure", figure, "alt").width == 1050


def test_the_font_knows_what_it_cannot_draw():
    assert figures.can_draw("кот, ünïcödé")
    assert not figures.can_draw("猫")


@pytest.mark.parametrize("most", range(3, 12))
def test_a_long_name_keeps_both_its_ends(most):
    shown = figures.short("abcdefghijklmnop", most)
    assert len(shown) == most and shown[0] == "a" and shown[-1] == "p"
    assert figures.short("abc", most) == "abc"


def test_photographs_that_are_higher_than_webp_allows_are_embedded_smaller():
    uri = embedded_webp(Image.new("RGB", (20, 20_000)))
    with Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))) as embedded:
        assert (embedded.format, embedded.height) == ("WEBP", 16_383)


def test_many_classes_share_one_outline_in_place_of_bars():
    counts = np.arange(figures.MOST_BARS + 1)
    figure = figures.class_counts({"train": counts}, [str(number) for number in counts])
    assert len(figure.axes[0].patches) == 1
