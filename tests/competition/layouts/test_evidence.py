"""What lies in a folder shows whether it is a competition's, without listing its images."""

import pytest

from competition.layouts import competition_folder, holds_competition


@pytest.mark.parametrize(
    "names",
    [
        ["train.csv", "test.csv"],
        ["labels.csv", "sample_submission.csv"],
        ["train.zip", "test.zip", "sampleSubmission.csv.zip"],
        ["train2019.json", "test2019.json"],
        ["tfrecords-jpeg-192x192/train/0.tfrec", "sample_submission.csv"],
        ["train/cat/0.png", "test/0.png"],
        ["training_solutions_rev1.zip", "all_zeros_benchmark.zip"],
    ],
)
def test_a_competitions_folder_is_recognised(contest, names):
    for name in names:
        contest.text(name, "")
    assert holds_competition(contest.folder)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["submission.csv", "report.html", "runs/zoo/scores.csv"],
        ["train.py", "test.py", "README.md"],
        ["model.safetensors"],
        ["train.png", "test.png"],
    ],
)
def test_other_folders_are_not(contest, names):
    for name in names:
        contest.text(name, "")
    assert not holds_competition(contest.folder)


def test_a_folder_that_is_not_there_is_none(tmp_path):
    assert not holds_competition(tmp_path / "nowhere")


def test_only_the_first_entries_are_looked_at(contest):
    contest.images(*(f"{number}.png" for number in range(50)))
    contest.text("train.csv", "").text("test.csv", "")
    assert competition_folder(contest.folder) == contest.folder
