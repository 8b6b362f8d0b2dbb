"""Which models can be compared, from the images that each was validated on."""

import pytest

from pipeline.ensemble.comparable import Group, comparable_groups, decisive_groups


def some(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number}.png" for number in numbers)


ALL, HELD_OUT = some(*range(20)), some(3, 1)


def test_models_that_were_validated_on_the_same_images_are_one_group():
    assert comparable_groups({"a": HELD_OUT, "b": HELD_OUT}) == [Group(("a", "b"), HELD_OUT)]


def test_folds_and_hold_outs_are_compared_on_the_held_out_images():
    validated = {"folds": ALL, "a": HELD_OUT, "more folds": ALL[::-1], "b": HELD_OUT}
    assert comparable_groups(validated) == [Group(("folds", "a", "more folds", "b"), HELD_OUT)]


def test_the_order_is_that_of_the_first_model_with_the_fewest_images():
    assert comparable_groups({"a": HELD_OUT[::-1], "b": HELD_OUT}) == [Group(("a", "b"), HELD_OUT[::-1])]


@pytest.mark.parametrize(
    ("other", "groups"),
    [
        (some(*range(10, 20)), [("a",), ("b",)]),
        (some(*range(6, 16)), [("a",), ("b",)]),
        (some(*range(5, 15)), [("a", "b")]),
    ],
    ids=["none in common", "four of ten", "five of ten"],
)
def test_hold_outs_are_compared_if_they_have_half_of_their_images_in_common(other, groups):
    found = comparable_groups({"a": some(*range(10)), "b": other})
    assert [group.names for group in found] == groups


@pytest.mark.parametrize(
    ("held_out", "images", "compared"), [(2, 20, True), (1, 20, False), (20, 1_000, False), (100, 10_000, True)]
)
def test_a_few_images_of_many_do_not_decide(held_out, images, compared):
    found = comparable_groups({"few": some(*range(held_out)), "many": some(*range(images))})
    assert [group.names for group in found] == ([("few", "many")] if compared else [("few",), ("many",)])


def test_folds_are_compared_with_each_of_two_hold_outs_that_have_nothing_in_common():
    first, second = some(0, 1), some(2, 3)
    found = comparable_groups({"a": first, "b": second, "folds": ALL})
    assert found == [Group(("a", "folds"), first), Group(("b", "folds"), second)]


def test_a_group_with_far_fewer_images_than_another_decides_nothing():
    lucky, held_out, folds = (Group((name,), some(*range(count))) for name, count in (("a", 1), ("b", 10), ("c", 100)))
    assert decisive_groups([lucky, held_out, folds]) == [held_out, folds]
    assert decisive_groups([lucky]) == [lucky]
