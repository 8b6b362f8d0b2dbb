"""Principal components: a few values preserve the inner products of many."""

import numpy as np

from pipeline.models.classical.components import COMPONENTS, SAMPLE, principal_components, sample_size


def test_rows_of_few_directions_keep_all_their_inner_products():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, 600))
    sample, others = (rng.normal(size=(count, 5)) @ directions for count in (400, 50))
    components = principal_components(sample.astype(np.float32))
    reduced = others.astype(np.float32) @ components
    np.testing.assert_allclose(reduced @ reduced.T, others @ others.T, rtol=1e-3, atol=1)


def test_they_are_orthonormal_and_no_more_than_rows_values_or_their_most():
    for shape, count in (((300, 40), 40), ((30, 400), 30), ((300, 300), COMPONENTS)):
        components = principal_components(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        assert components.shape == (shape[1], count)
        np.testing.assert_allclose(components.T @ components, np.eye(count), atol=1e-4)


def test_a_sample_has_room_in_the_memory_there_is():
    assert sample_size(values=1000, memory=1e12) == SAMPLE
    assert sample_size(values=10_000, memory=16e6) == 100
