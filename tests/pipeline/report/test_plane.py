import numpy as np
import pytest

from competition.errors import UserError
from pipeline.report import plane
from pipeline.report.plane import in_plane, principal, read_images, sample, shared_out
from tests.pipeline.report.contexts import made_context


@pytest.fixture
def without_weights(monkeypatch) -> None:
    monkeypatch.setattr(plane, "at_hand", lambda *_: False)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return made_context(tmp_path_factory.mktemp("plane"), "multiclass")


@pytest.mark.parametrize(
    ("counts", "most", "shares"),
    [
        ([100, 100, 100], 30, [10, 10, 10]),
        ([5, 100, 100], 45, [5, 20, 20]),
        ([5, 6, 7], 100, [5, 6, 7]),
        ([0, 9, 100], 20, [0, 9, 11]),
    ],
)
def test_the_splits_share_the_map_and_small_ones_leave_room(counts, most, shares):
    assert shared_out(counts, most) == shares


def test_a_sample_holds_images_of_all_splits_and_no_more_than_asked_for(context, without_weights):
    found = sample(context, most=30)
    assert [(found.splits == name).sum() for name in ("train", "validation", "test")] == [10, 10, 10]
    assert found.images.shape == (30, 16, 16, 3) and len(found.features) == 30
    assert len(set(zip(found.splits, found.rows, strict=True))) == 30
    assert found.source == "their pixels"


def test_unreadable_images_are_left_out(context, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images, places = read_images([context.train.paths[0], broken, tmp_path / "missing.png"], (8, 8), "squash")
    assert images.shape == (1, 8, 8, 3) and places.tolist() == [0]
    assert read_images([broken], (8, 8), "squash")[0].shape == (0, 8, 8, 3)


def test_the_features_are_lite0s_where_its_weights_are_at_hand(context, monkeypatch):
    monkeypatch.setattr(plane, "at_hand", lambda *_: True)
    monkeypatch.setattr(plane, "load_weights", lambda *_: plane.Lite0(1000).state_dict())
    found = sample(context, most=6)
    assert found.features.shape == (6, 2024) and "Lite0" in found.source


def test_weights_that_do_not_fit_are_done_without(context, monkeypatch):
    def refused(*_):
        raise UserError("damaged")

    monkeypatch.setattr(plane, "at_hand", lambda *_: True)
    monkeypatch.setattr(plane, "load_weights", refused)
    assert sample(context, most=6).source == "their pixels"


def test_images_that_are_alike_lie_together():
    generator = np.random.default_rng(0)
    group = np.repeat([0, 1], 30)
    features = 20 * group[:, None] + generator.normal(size=(60, 8))
    places, method = in_plane(principal(features))
    assert method == "t-SNE"
    assert places.min() == 0 and places.max() == 1
    centres = np.stack([places[group == number].mean(axis=0) for number in (0, 1)])
    within = np.linalg.norm(places - centres[group], axis=1).mean()
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * within


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_few_images_have_places_too(count):
    features = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    places, _ = in_plane(principal(features))
    assert places.shape == (count, 2) and np.isfinite(places).all()


def test_equal_images_have_places_too():
    places, _ = in_plane(principal(np.zeros((12, 4), np.float32)))
    assert np.isfinite(places).all()
