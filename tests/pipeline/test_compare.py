"""Runs compared: side by side on the same images, with a verdict that chance cannot make."""

import re
from pathlib import Path

import pytest

from tests.commands import fail, succeed


@pytest.fixture(scope="module")
def place(made_once, make_competition) -> Path:
    """Runs of a hold-out, of two sizes, and of an option that changes nothing, on easy classes."""

    def train(folder: Path) -> None:
        tables = make_competition(folder / "insects", train=60, val=40, variety=0.4)
        options = ("--competition", tables, "--work", folder)
        succeed("train", *options, "--models", "dhc-gaussian-nb", "dhc-bernoulli-nb")
        succeed("train", *options, "--models", "dhc-gaussian-nb", "--seed", 1)
        succeed("train", *options, "--models", "dhc-bernoulli-nb", "--limit", 3)

    return made_once("compared", train)


def compared(place: Path, *options: object) -> str:
    return succeed("compare", "--competition", place / "insects", "--work", place, *options)


def test_the_runs_are_listed_best_first_with_options_cost_and_verdict(place):
    title, header, *rows = compared(place).splitlines()[:6]
    assert title == "4 runs on 40 validation images:"
    assert header.split() == ["model", "options", "accuracy", "95", "%", "interval", "behind", "chance", "seconds"]
    assert re.search(r" best +\d+\.\d$", rows[0])
    assert all(re.search(r" (worse|no clear difference) +\d+\.\d$", row) for row in rows[1:])
    scores = [float(re.search(r"0\.\d{4}|1\.0000", row)[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert sum("seed=1" in row for row in rows) == sum("limit=3" in row for row in rows) == 1


def test_what_a_single_option_changed_is_tested(place):
    lines = compared(place).splitlines()
    (seed,) = [line for line in lines if line.startswith("seed=1 ")]
    assert re.fullmatch(r"seed=1 +dhc-gaussian-nb +\+0\.0000 +1\.000 +no clear effect", seed)
    (limit,) = [line for line in lines if line.startswith("limit=3 ")]
    assert re.search(r"dhc-bernoulli-nb +[+-]0\.\d{4} +[\d.]+ +(harms|no clear effect)$", limit)


def test_only_the_named_runs_and_by_another_metric(place):
    printed = compared(place, "--models", "dhc-gaussian-nb", "--metric", "log-loss")
    assert "2 runs on 40 validation images:" in printed and "log loss" in printed and "bernoulli" not in printed


def test_the_page_shows_the_same_and_is_the_last_line(place):
    path = Path(compared(place).splitlines()[-1])
    assert path == place / "runs" / "insects" / "compare.html"
    page = path.read_text(encoding="utf-8")
    assert "insects: runs compared" in page and page.count("<tr") == 1 + 4 + 1 + 2
    assert "seed=1" in page and "no clear effect" in page and "http" not in page.split("<body>")[1]


def test_runs_that_were_validated_on_other_images_stand_in_a_table_of_their_own(place, make_competition, tmp_path):
    tables = make_competition(tmp_path / "moths", train=200, with_val=False)
    options = ("--competition", tables, "--work", tmp_path, "--models", "dhc-gaussian-nb")
    succeed("train", *options)
    succeed("train", *options, "--limit", 12)
    printed = succeed("compare", *options[:4])
    assert "1 run on 20 validation images:" in printed and "1 run on 1 validation image:" in printed
    assert "runs of different tables cannot be compared" in printed


def test_without_runs_one_line_says_what_to_do(make_competition, tmp_path):
    tables = make_competition(tmp_path / "insects")
    assert "holds no trained model; run pipeline/train.py first" in fail(
        "compare", "--competition", tables, "--work", tmp_path
    )
