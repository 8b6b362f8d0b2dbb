"""Labels under suspicion: predict.py finds wrong ones, and train.py takes its table once it is corrected."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from competition.sources import open_competition
from competition.spec import Split
from pipeline.data.predictions import Predictions
from pipeline.findings.suspects import judge, told
from tests.commands import succeed

WRONG = ("00004.png", "00011.png", "00025.png", "00040.png")
MODELS = ("dhc-gaussian-nb", "dhc-svm")


@pytest.fixture(scope="module")
def place(made_once, make_competition) -> Path:
    """Runs in three folds and of a hold-out on a competition with four wrong labels, and their predictions."""

    def train(folder: Path) -> None:
        tables = make_competition(folder / "insects", train=90, with_val=False, variety=0.3)
        table = pd.read_csv(tables / "train.csv")
        right = table.set_index("Image")["Class"]
        is_wrong = table["Image"].isin(WRONG)
        table.loc[is_wrong, "Class"] = table.loc[is_wrong, "Class"].map({"ant": "bee", "bee": "cat", "cat": "ant"})
        table.to_csv(tables / "train.csv", index=False)
        right[list(WRONG)].to_csv(folder / "right.csv")
        options = ("--competition", tables, "--work", folder)
        succeed("train", *options, "--models", *MODELS, "--folds", 3)
        (folder / "printed.txt").write_text(succeed("predict", *options))

    return made_once("suspects", train)


def table_in(work: Path) -> pd.DataFrame:
    return pd.read_csv(work / "runs" / "insects" / "audit" / "suspects.csv")


def test_wrong_labels_are_found_with_what_is_right_and_with_pictures_like_them(place):
    table, right = table_in(place), pd.read_csv(place / "right.csv").set_index("Image")["Class"]
    assert len(table) >= 3 and set(table["id"]) <= set(WRONG) and set(table["split"]) == {"train"}
    assert table["models_say"].tolist() == right[table["id"]].tolist()
    assert (table["probability"] > 0.5).all() and table["odds"].is_monotonic_increasing
    labels = pd.read_csv(place / "insects" / "train.csv").set_index("Image")["Class"]
    for image, near in zip(table["id"], table["nearest"].str.split("; "), strict=True):
        assert len(near) == 3 and image not in near
        assert list(labels[near]).count(right[image]) >= 2


def test_a_line_says_how_many_and_what_to_do(place):
    path = place / "runs" / "insects" / "audit" / "suspects.csv"
    line = f"the models contradict {len(table_in(place))} of 90 labels: correct {path} and train with --relabel\n"
    assert line in (place / "printed.txt").read_text()


def test_where_only_validation_images_are_judged_the_line_says_how_to_judge_all():
    line = told(2, judged=10, labelled=90)
    assert line.startswith("the models contradict 2 of 10 validation labels, listed in suspects.csv")
    assert "--folds 3" in line and "--relabel" not in line
    assert told(0, judged=10, labelled=90) == ""


def test_the_report_shows_them(place):
    page = (place / "submissions" / "insects" / "report.html").read_text(encoding="utf-8")
    assert "Labels under suspicion" in page
    section = page.split('id="suspects"', 1)[1].split("</section>", 1)[0]
    assert all(section.count(name) >= 2 for name in table_in(place)["id"])  # in the picture's text and in the table
    assert (place / "submissions" / "insects" / "report" / "suspects.png").stat().st_size > 1000


def test_the_table_is_taken_as_it_is_once_its_labels_are_corrected(place, tmp_path):
    table = table_in(place)
    table["label"] = table["models_say"]
    table.to_csv(tmp_path / "suspects.csv", index=False)
    options = ("--competition", place / "insects", "--work", tmp_path, "--models", "dhc-gaussian-nb")
    printed = succeed("train", *options, "--relabel", tmp_path / "suspects.csv", "--folds", 3)
    assert f"{len(table)} corrected labels to train on, 0 images left out, by" in printed


def test_what_has_been_corrected_in_the_table_stays_and_is_not_listed_again(place, tmp_path):
    shutil.copytree(place / "runs", tmp_path / "runs")
    options = ("--competition", place / "insects", "--work", tmp_path)
    path = tmp_path / "runs" / "insects" / "audit" / "suspects.csv"
    table = table_in(tmp_path)
    table.loc[0, "label"] = table.loc[0, "models_say"]
    table.to_csv(path, index=False)
    printed = succeed("predict", *options, "--no-report")
    assert f"the models contradict {len(table) - 1} of 90 labels" in printed
    after = pd.concat([table[1:], table[:1]], ignore_index=True)
    columns = ["id", "label", "models_say", "probability"]
    pd.testing.assert_frame_equal(table_in(tmp_path)[columns], after[columns])
    path.write_text("id,label\n00004.png,wasp\n")
    assert "put aside as suspects-before.csv: " in succeed("predict", *options, "--no-report")
    assert len(table_in(tmp_path)) == len(table)
    assert path.with_name("suspects-before.csv").read_text() == "id,label\n00004.png,wasp\n"


def test_with_a_hold_out_only_validation_images_are_judged(place, tmp_path):
    options = ("--competition", place / "insects", "--work", tmp_path)
    succeed("train", *options, "--models", "dhc-gaussian-nb", "--folds", 1)
    succeed("predict", *options, "--no-report")
    path = tmp_path / "runs" / "insects" / "audit" / "suspects.csv"
    assert not path.exists() or set(table_in(tmp_path)["id"]) < set(WRONG)


def test_a_model_of_a_fold_that_has_failed_suspects_no_labels_that_the_others_would_not(place):
    competition = open_competition(str(place / "insects"), None, place)
    truth = np.random.default_rng(0).integers(0, 3, 900)
    is_wrong = np.random.default_rng(1).random(900) < 0.05
    labels = np.where(is_wrong, (truth + 1) % 3, truth)
    said = np.concatenate([truth[:300], np.zeros(300, np.int64), truth[600:]])  # the second fold's always says ant
    ids = tuple(map(str, range(900)))
    predictions = Predictions(ids, 0.01 + 0.97 * np.eye(3)[said], labels)
    judges = {"network": SimpleNamespace(validated=predictions, run=SimpleNamespace(splits=3))}
    split = Split("labelled", ids, (place,) * 900, labels)
    found = judge(judges, split, np.arange(900), competition)
    assert set(found.rows) == {row for row in np.flatnonzero(is_wrong) if not 300 <= row < 600}
