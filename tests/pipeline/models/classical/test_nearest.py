"""The nearest rows: the same as in float64, even if float32 cannot distinguish them."""

import numpy as np
import pytest

from pipeline.models.classical import nearest, pixels
from pipeline.models.classical.nearest import NearestRows

PLACES = {"euclidean": NearestRows.by_distance, "cosine": NearestRows.by_cosine}


def exact(rows: np.ndarray, queries: np.ndarray, metric: str, most: int) -> np.ndarray:
    """The nearest rows by distances and angles in float64."""
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        rows, queries = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, queries))
    distances = np.square(queries[:, None] - rows).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :most]


def draw(count: int, seed: int, centre: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(centre, spread, (count, 50)).astype(np.float32)


@pytest.mark.parametrize("metric", PLACES)
def test_the_nearest_come_first_as_in_float64(metric: str):
    rows, queries = draw(400, seed=1), draw(30, seed=2)
    np.testing.assert_array_equal(PLACES[metric](rows).search(queries, 9), exact(rows, queries, metric, 9))


@pytest.mark.parametrize("metric", PLACES)
def test_rows_that_float32_products_put_in_the_wrong_order_are_put_right(metric: str):
    rows, queries = draw(400, seed=1, centre=100, spread=0.1), draw(30, seed=2, centre=100, spread=0.1)
    found = PLACES[metric](rows)
    expected = exact(rows, queries, metric, 9)
    rough = queries @ rows.T * found.factor.astype(np.float32) + found.offset.astype(np.float32)
    assert (np.argsort(rough, axis=1)[:, :9] != expected).any()
    np.testing.assert_array_equal(found.search(queries, 9), expected)


def test_all_rows_may_be_asked_for():
    rows, queries = draw(5, seed=1), draw(3, seed=2)
    found = NearestRows.by_distance(rows).search(queries, 5)
    np.testing.assert_array_equal(found, exact(rows, queries, "euclidean", 5))


@pytest.mark.parametrize("metric", PLACES)
def test_of_equal_rows_the_first_is_nearer(metric: str):
    rows = np.repeat(draw(20, seed=1), 3, axis=0)
    found = PLACES[metric](rows).search(rows[::3], 3)
    np.testing.assert_array_equal(found, np.arange(60).reshape(20, 3))


def test_zeros_are_at_right_angles_to_everything():
    rows = np.array([[1, 1], [0, 0], [-1, 1]], np.float32)
    places = NearestRows.by_cosine(rows)
    np.testing.assert_array_equal(places.search(np.array([[1, 0.5]], np.float32), 3), [[0, 1, 2]])
    np.testing.assert_array_equal(places.search(np.zeros((1, 2), np.float32), 3), [[0, 1, 2]])


def test_a_search_in_small_pieces_finds_the_same(monkeypatch: pytest.MonkeyPatch):
    places, queries = NearestRows.by_distance(draw(400, seed=1)), draw(30, seed=2)
    at_once = places.search(queries, 9)
    monkeypatch.setattr(pixels, "CHUNK_VALUES", 1000)
    np.testing.assert_array_equal(places.search(queries, 9), at_once)


@pytest.mark.parametrize("metric", PLACES)
def test_products_of_blocks_leave_less_in_doubt(metric: str, monkeypatch: pytest.MonkeyPatch):
    rows, queries = draw(400, seed=1, centre=10, spread=0.1), draw(30, seed=2, centre=10, spread=0.1)
    places, compared = PLACES[metric](rows), []
    for block in (50, 7):
        monkeypatch.setattr(nearest, "BLOCK", block)
        np.testing.assert_array_equal(places.search(queries, 9), exact(rows, queries, metric, 9))
        compared.append(sum(map(len, places._possible(queries, 9))))
    assert compared[1] < compared[0]
