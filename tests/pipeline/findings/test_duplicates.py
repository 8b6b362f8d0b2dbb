"""Copies that were planted in a contest are found, and none in a contest without any."""

from pathlib import Path

import pytest

from competition.layouts import load_competition
from pipeline.data.cache import open_cache
from pipeline.data.training_data import labelled_images
from pipeline.findings.duplicates import exact_duplicates, similar_pictures
from pipeline.findings.finding import Finding
from pipeline.findings.joined import Joined
from pipeline.findings.pictures import Pictures
from tests.faults import Planted, draw_control, draw_faults

SIDE = 48


def joined(folder: Path, caches: Path) -> Joined:
    competition = load_competition(folder, folder.name)
    splits = (labelled_images(competition), competition.test)
    labelled, test = (open_cache(split.paths, caches, (SIDE, SIDE), fit="crop") for split in splits)
    return Joined(competition.task, (Pictures.labelled(competition, labelled), Pictures.test(competition, test)))


def found_in(images: Joined) -> dict[str, Finding]:
    return {each.kind: each for each in (*exact_duplicates(images), similar_pictures(images))}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> tuple[Planted, dict[str, Finding]]:
    folder = tmp_path_factory.mktemp("duplicates")
    planted = draw_faults(folder / "faulty", side=SIDE)
    return planted, found_in(joined(folder / "faulty", folder))


def pairs(finding: Finding) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in zip(finding.table["id"], finding.table["other_id"], strict=True)}


def test_all_exact_copies_and_contradictions_are_found_and_nothing_else(faulty):
    planted, found = faulty
    assert pairs(found["duplicates"]) == set(map(frozenset, [*planted.exact, *planted.contradictions]))
    assert pairs(found["conflicts"]) == set(map(frozenset, planted.contradictions))
    assert set(found["conflicts"].table["id"]) == {name for pair in planted.contradictions for name in pair}


def test_all_leaks_are_found_with_the_labels_that_they_tell(faulty):
    planted, found = faulty
    leaks, similar = found["leaks"].table, found["similar"].table
    changed = similar[similar["split"] == "test"]
    assert set(leaks["split"]) == {"test"} and not leaks["id"].duplicated().any()
    assert set(zip(leaks["other_id"], leaks["id"], strict=True)) | set(
        zip(changed["other_id"], changed["id"], strict=True)
    ) == set(planted.leaks)
    assert set(leaks["other_label"]) <= {"ant", "bee", "cat", "dog"} and "label" not in leaks


def test_nearly_all_changed_copies_are_found_and_how_they_are_mirrored(faulty):
    planted, found = faulty
    table = found["similar"].table
    assert pairs(found["similar"]) <= set(map(frozenset, [*planted.near, *planted.leaks]))
    assert len(pairs(found["similar"]) & set(map(frozenset, planted.near))) >= 0.95 * len(planted.near)
    mirrored = {
        frozenset(pair) for pair in table.loc[table["mirrored"] != "", ["id", "other_id"]].itertuples(index=False)
    }
    flipped = {frozenset(pair) for pair, change in planted.near.items() if change == "flipped"}
    others = {frozenset(pair) for pair, change in planted.near.items() if change != "flipped"}
    assert flipped <= mirrored and not others & mirrored


def test_what_bears_on_the_answer_is_told_in_one_line_each(faulty):
    _, found = faulty
    assert "10 training images also in val" in found["duplicates"].told and "--relabel" in found["duplicates"].told
    assert (
        found["conflicts"].told.startswith("40 images have a copy with another label")
        and "--drop-conflicts" in found["conflicts"].told
    )
    assert "leaks.csv" in found["leaks"].told
    assert "20 in test, 12 in val" in found["similar"].told
    assert not any("\n" in each.told for each in found.values())


def test_in_a_contest_without_copies_none_is_found(tmp_path):
    draw_control(tmp_path / "control", side=SIDE)
    found = found_in(joined(tmp_path / "control", tmp_path))
    assert {kind: len(each.table) for kind, each in found.items()} == dict.fromkeys(found, 0)
    assert not any(each.told for each in found.values())
