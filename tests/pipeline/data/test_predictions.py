import numpy as np
import pytest

from competition.errors import UserError
from pipeline.data.predictions import Predictions, stored_blocks
from pipeline.runtime import memory
from pipeline.runtime.sealed import write_arrays

IDS = ("00017", "b.png", "c d")
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]])


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(IDS, PROBABILITIES)


def test_what_is_saved_is_loaded_bit_for_bit(predictions, tmp_path):
    path = tmp_path / "new folder" / "validation.npz"
    predictions.save(path)
    loaded = Predictions.load(path)
    assert loaded.ids == IDS
    assert loaded.probabilities.dtype == np.float32
    np.testing.assert_array_equal(loaded.probabilities, predictions.probabilities)
    assert loaded.fingerprint == ""
    assert [entry.name for entry in path.parent.iterdir()] == ["validation.npz"]


def test_stored_predictions_are_read_back_block_by_block(predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "VALUES_AT_ONCE", 7)  # two rows of three
    predictions.save(tmp_path / "test.npz")
    blocks = list(stored_blocks(tmp_path / "test.npz"))
    assert [block.ids for block in blocks] == [("00017", "b.png"), ("c d",)]
    np.testing.assert_array_equal(np.concatenate([block.probabilities for block in blocks]), predictions.probabilities)


def test_targets_are_saved_and_follow_their_ids(tmp_path):
    path = tmp_path / "validation.npz"
    Predictions(IDS, PROBABILITIES, np.array([0, 2, 1])).save(path)
    loaded = Predictions.load(path)
    assert (loaded.targets.dtype, loaded.targets.tolist()) == (np.int64, [0, 2, 1])
    assert loaded.aligned_to(("c d", "00017")).targets.tolist() == [1, 0]


def test_without_targets_there_are_none_after_loading_either(predictions, tmp_path):
    predictions.save(tmp_path / "test.npz")
    assert Predictions.load(tmp_path / "test.npz").targets is None
    assert predictions.aligned_to(IDS).targets is None


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([0, 1], r"targets of shape \(2,\) for 3 ids"),
        ([0, 1, 3], "targets outside the 3 columns; expected numbers from 0 to 2"),
        ([-1, 1, 2], "targets outside the 3 columns"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, words):
    with pytest.raises(UserError, match=words):
        Predictions(IDS, PROBABILITIES, np.array(targets))


def test_the_file_needs_no_pickle_and_saving_twice_gives_the_same_bytes(predictions, tmp_path):
    predictions.save(tmp_path / "a.npz")
    predictions.save(tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored["ids"].dtype.kind == "U"
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_winner_is_the_likeliest_class(predictions):
    assert predictions.predicted_labels.tolist() == [0, 2, 1]


def test_rows_follow_their_ids_into_another_order(predictions):
    aligned = predictions.aligned_to(("c d", "00017"))
    assert aligned.ids == ("c d", "00017")
    np.testing.assert_array_equal(aligned.probabilities, PROBABILITIES[[2, 0]].astype(np.float32))


def test_ids_without_a_prediction_are_named(predictions):
    with pytest.raises(UserError, match=r"no prediction for 2 of 3 ids: x\.png, 17; predict them"):
        predictions.aligned_to(("b.png", "x.png", "17"))


@pytest.mark.parametrize(
    ("ids", "probabilities", "words"),
    [
        (("a", "b"), np.ones((3, 2)), r"shape \(3, 2\) for 2 ids"),
        (("a", "b"), np.ones(2), r"shape \(2,\) for 2 ids"),
        (("a", "b"), np.ones((2, 0)), r"shape \(2, 0\) for 2 ids"),
        (("a", "b", "a"), np.ones((3, 2)), "1 ids predicted more than once: a;"),
        (("a", "b"), [[0.5, 0.5], [np.nan, 1]], "1 of 2 predictions are negative or not finite: b;"),
        (("a", "b"), [[np.inf, 0.5], [0, 1]], "1 of 2 predictions are negative or not finite: a;"),
        (("a", "b"), [[-0.5, 1.5], [0, 1]], "1 of 2 predictions are negative or not finite: a;"),
    ],
)
def test_what_cannot_be_predictions_is_refused(ids, probabilities, words):
    with pytest.raises(UserError, match=words):
        Predictions(ids, np.asarray(probabilities))


def test_a_missing_file_says_what_makes_it(tmp_path):
    with pytest.raises(UserError, match=r"no predictions at .*validation\.npz; run pipeline/train\.py first"):
        Predictions.load(tmp_path / "validation.npz")


def test_a_file_cut_short_or_changed_anywhere_is_refused_in_words_or_still_sound(predictions, tmp_path):
    path = tmp_path / "validation.npz"
    predictions.save(path)
    sound = path.read_bytes()
    damaged = [sound[:length] for length in range(0, len(sound), 7)]
    damaged += [sound[:at] + bytes([sound[at] ^ 0xFF]) + sound[at + 1 :] for at in range(len(sound))]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            loaded = Predictions.load(path)
            assert loaded.ids == IDS and np.array_equal(loaded.probabilities, predictions.probabilities)
        except UserError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > len(damaged) / 2


def test_the_run_that_made_them_is_named_by_its_fingerprint(tmp_path):
    Predictions(IDS, PROBABILITIES, fingerprint="0123").save(tmp_path / "test.npz")
    loaded = Predictions.load(tmp_path / "test.npz")
    assert loaded.fingerprint == loaded.aligned_to(IDS[:1]).fingerprint == "0123"


def test_a_number_changed_with_its_checksum_in_the_zip_is_noticed(predictions, tmp_path):
    path = tmp_path / "validation.npz"
    predictions.save(path)
    with np.load(path) as stored:
        arrays = dict(stored.items())
    arrays["probabilities"] = arrays["probabilities"][::-1]
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=r"validation\.npz: damaged, or written by another version"):
        Predictions.load(path)


def test_an_array_of_another_kind_is_no_file_of_predictions(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(UserError, match=r"other\.npz: damaged, or written by another version"):
        Predictions.load(tmp_path / "other.npz")


def test_a_fault_in_a_file_is_told_with_its_path(tmp_path):
    arrays = {"ids": np.array(["a", "a"]), "probabilities": np.ones((2, 2)), "fingerprint": np.array("")}
    write_arrays(tmp_path / "wrong.npz", arrays)
    with pytest.raises(UserError, match=r"wrong\.npz: 1 ids predicted more than once"):
        Predictions.load(tmp_path / "wrong.npz")
