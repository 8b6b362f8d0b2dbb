"""Thumbnails that show the same picture are found among many, and few others are."""

import cv2
import numpy as np

from pipeline.findings import look_up
from pipeline.findings.look_up import TOGETHER, Block, candidates

SIDE = 12


def thumbnails(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (count, SIDE, SIDE)).astype(np.float32).cumsum(axis=1).cumsum(axis=2)


def block_of(among: np.ndarray, first: int = 0) -> Block:
    return Block(first + np.arange(len(among)), lambda rows: among[rows - first])


def looked_up(asked: np.ndarray, among: np.ndarray) -> set[tuple[int, int]]:
    block = block_of(among, first=1000)
    pairs = candidates(np.arange(len(asked)), asked, block)
    return set(zip(pairs.first.tolist(), (pairs.second - 1000).tolist(), strict=True))


def test_mirrored_thumbnails_are_found_with_how_they_are_mirrored():
    asked = thumbnails(20)
    mirrored = np.concatenate([asked[:, ::-1], asked[:, :, ::-1], asked[:, ::-1, ::-1]])
    pairs = candidates(np.arange(20), asked, block_of(mirrored, first=100))
    flips = dict(zip(zip(pairs.first.tolist(), (pairs.second - 100).tolist(), strict=True), pairs.flips, strict=True))
    for row in range(20):
        assert [flips[row, place * 20 + row] for place in range(3)] == [2, 1, 3]


def test_windows_are_found_with_what_they_leave_out():
    asked = thumbnails(TOGETHER)
    large = np.stack([cv2.resize(each, (240, 240), interpolation=cv2.INTER_CUBIC) for each in asked])
    cut = np.stack([cv2.resize(each[20:, :-30], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for each in large])
    pairs = candidates(np.arange(TOGETHER), asked, block_of(cut, first=100))
    own = np.flatnonzero(pairs.first == pairs.second - 100)
    assert len(own) >= 0.9 * TOGETHER
    assert np.abs(pairs.windows[own] - [20 / 240, 0, 0, 30 / 240]).max(axis=1).mean() < 0.06


def test_few_other_thumbnails_are_found():
    asked, among = thumbnails(TOGETHER), thumbnails(3000, seed=1)
    assert len(looked_up(asked, among)) < 0.02 * TOGETHER * len(among)


def test_an_image_is_not_paired_with_itself():
    among = thumbnails(30)
    pairs = candidates(np.arange(30), among, block_of(among))
    assert not (pairs.first == pairs.second).any()


def test_where_nearly_all_are_alike_the_work_is_limited(monkeypatch):
    monkeypatch.setattr(look_up, "MOST_AGREEING", 640)
    asked = np.repeat(thumbnails(1), TOGETHER, axis=0)
    assert len(looked_up(asked, np.repeat(asked, 10, axis=0))) <= look_up.GROUPS * 10 * TOGETHER
