"""A test set that differs from the labelled images is told; one that was drawn from the same images is not."""

import numpy as np
import pytest

from pipeline.findings.drift import SHOWN, drift, separation
from pipeline.findings.finding import Finding
from tests.pipeline.findings.looked_at import drawn, for_test, labelled


def found(train: np.ndarray, tested: np.ndarray) -> dict[str, Finding]:
    return {each.kind: each for each in drift(labelled(train)[1], for_test(tested))}


@pytest.mark.parametrize("count", [60, 400])
def test_an_equal_test_set_is_not_told(count):
    assert found(drawn(400, seed=0), drawn(count, seed=1))["drift"].told == ""


def test_a_brighter_test_set_is_told_with_what_differs_and_the_images_that_show_it():
    drifted = found(drawn(400, seed=0), drawn(200, seed=1, brightness=115))["drift"]
    assert "brightness" in drifted.told and "in test" in drifted.told and "--pseudo-labels" in drifted.told
    first, last = drifted.table.iloc[0], drifted.table.iloc[-1]
    assert (first["split"], last["split"]) == ("test", "train")
    assert first["test"] > 0.8
    assert (drifted.table.groupby("split").size() <= SHOWN).all()


def test_a_test_set_of_other_sizes_is_told():
    pictures, tested = labelled(drawn(200, seed=0))[1], for_test(drawn(100, seed=1))
    tested.fingerprints.sizes[:] = 48, 48
    told = drift(pictures, tested)[1].told
    assert "AUC of 1.00" in told and "height 48 in test, 24 in train" in told


def test_too_few_images_tell_nothing():
    assert found(drawn(400, seed=0), drawn(20, seed=1, brightness=200))["drift"].told == ""


def test_the_facts_of_the_splits_stand_side_by_side():
    _, pictures = labelled(drawn(300, seed=0), trained=200)
    splits = drift(pictures, for_test(drawn(100, seed=1, brightness=150)))[0].table.set_index("fact")
    assert {"train, median", "val, 95 %", "test, 5 %", "AUC"} <= set(splits.columns)
    assert splits.loc["brightness", "test, median"] - splits.loc["brightness", "val, median"] > 30
    assert splits.loc["brightness", "AUC"] > 0.9
    assert splits.loc["width", "AUC"] == 0.5


def test_the_auc_is_the_share_of_pairs_in_order_and_its_error_shrinks_with_the_images():
    few = separation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0]))
    assert few.auc == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    rng = np.random.default_rng(0)
    errors = [separation(rng.random(count), rng.random(count)).error for count in (50, 5_000)]
    assert errors[0] > 5 * errors[1]
