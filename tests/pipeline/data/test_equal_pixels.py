"""Images with equal pixels are grouped by their hashes; labels within a group may differ."""

import numpy as np

from pipeline.data.equal_pixels import conflicting, equal_pixels

HASHES = np.array([7, 5, 7, 9, 5, 7, 0, 0], np.uint64)
KNOWN = np.array([1, 1, 1, 1, 1, 1, 0, 0], bool)


def test_groups_hold_the_rows_of_readable_images_with_equal_pixels():
    assert [group.tolist() for group in equal_pixels(HASHES, KNOWN)] == [[1, 4], [0, 2, 5]]
    assert equal_pixels(HASHES[:0], KNOWN[:0]) == []


def test_each_image_with_another_label_than_an_equal_one_conflicts():
    groups = equal_pixels(HASHES, KNOWN)
    assert conflicting(groups, np.array([0, 1, 0, 3, 1, 2, 4, 5])) == [(0, 5), (2, 5), (5, 0)]
    assert conflicting(groups, np.array([0, 1, 0, 3, 1, 0, 4, 5])) == []


def test_of_several_labels_one_that_differs_is_enough():
    labels = np.zeros((8, 3), np.int64)
    labels[4, 2] = 1
    assert conflicting(equal_pixels(HASHES, KNOWN), labels) == [(1, 4), (4, 1)]
    assert conflicting(equal_pixels(HASHES, KNOWN), labels.astype(float)) == [(1, 4), (4, 1)]
