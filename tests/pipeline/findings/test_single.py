"""Images that are odd by themselves are found; in an ordinary set, none is."""

import numpy as np

from competition.task import Task
from pipeline.findings.finding import Finding
from pipeline.findings.pictures import Pictures
from pipeline.findings.single import odd_images
from tests.pipeline.findings.looked_at import drawn, for_test, labelled


def found(pictures: Pictures, *more: Pictures) -> dict[str, Finding]:
    return {each.kind: each for each in odd_images(Task((0, 1)), [pictures, *more])}


def ids(finding: Finding) -> set[str]:
    return set(finding.table["id"])


def test_in_an_ordinary_set_nothing_is_odd():
    _, pictures = labelled(drawn(300, seed=0))
    findings = found(pictures, for_test(drawn(100, seed=1)))
    assert {kind: len(finding.table) for kind, finding in findings.items()} == dict.fromkeys(findings, 0)
    assert not any(finding.told for finding in findings.values())


def test_a_blank_labelled_image_is_told_and_one_of_the_test_is_only_listed():
    images, tested = drawn(50, seed=0), drawn(50, seed=1)
    images[7], tested[3] = 200, 0
    _, pictures = labelled(images, trained=40)
    test = for_test(tested)
    blank = found(pictures, test)["blank"]
    assert ids(blank) == {pictures.split.ids[7], test.split.ids[3]}
    assert blank.told.startswith("1 labelled image and 1 test image of a single colour")
    assert found(labelled(drawn(50, seed=0))[1], test)["blank"].told == ""


def test_images_that_are_blank_as_all_of_their_class_are_only_listed():
    images = drawn(60, seed=0)
    images[:20] = np.arange(20)[:, None, None, None]
    of_class, mixed = (labelled(images, labels)[1] for labels in (np.arange(60) < 20, np.arange(60) % 2))
    assert len(found(of_class)["blank"].table) == 20
    assert found(of_class)["blank"].told == ""
    assert found(mixed)["blank"].told.startswith("20 labelled images of a single colour")


def test_images_much_smaller_than_the_others_are_tiny():
    _, pictures = labelled(drawn(50, seed=0))
    pictures.fingerprints.sizes[:] = 300, 400
    pictures.fingerprints.sizes[[4, 9]] = (8, 8), (100, 120)
    tiny = found(pictures)["tiny"]
    assert ids(tiny) == {pictures.split.ids[4]}
    assert tiny.table[["height", "width"]].to_numpy().tolist() == [[8, 8]]


def test_sets_of_small_pictures_have_no_tiny_ones():
    _, pictures = labelled(drawn(50, seed=0))
    pictures.fingerprints.sizes[:] = 28, 28
    pictures.fingerprints.sizes[4] = 20, 20
    assert ids(found(pictures)["tiny"]) == set()


def test_the_most_extreme_image_comes_first_with_what_is_usual():
    images = drawn(300, seed=0)
    images[5] = np.minimum(images[5] // 4 + 190, 255)
    _, pictures = labelled(images)
    pictures.fingerprints.sizes[8] = 24, 2_400
    extreme = found(pictures)["extreme"].table
    first = extreme.iloc[0]
    assert (first["id"], first["fact"], round(first["value"])) == (pictures.split.ids[8], "aspect ratio", 100)
    assert ("brightness" in set(extreme[extreme["id"] == pictures.split.ids[5]]["fact"])) and first["usual"] == 1
    assert ids(found(pictures)["extreme"]) == {pictures.split.ids[5], pictures.split.ids[8]}


def test_unreadable_files_are_listed_with_the_reason(tmp_path):
    _, pictures = labelled(drawn(20, seed=0))
    pictures.fingerprints.contents[3] = 0
    unreadable = found(pictures)["unreadable"]
    assert ids(unreadable) == {pictures.split.ids[3]}
    assert "No such file" in unreadable.table["fault"][0]
    assert "--skip-unreadable" in unreadable.told


def test_a_set_of_which_nothing_can_be_read_is_no_error():
    _, pictures = labelled(drawn(3, seed=0))
    pictures.fingerprints.contents[:] = 0
    assert len(found(pictures)["unreadable"].table) == 3
