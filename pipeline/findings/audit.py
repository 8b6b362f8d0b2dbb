"""All that is looked for in a competition's images and labels."""

from collections.abc import Iterator
from pathlib import Path

from competition.spec import Competition
from pipeline.findings.classes import class_counts
from pipeline.findings.drift import drift
from pipeline.findings.duplicates import exact_duplicates, similar_pictures
from pipeline.findings.finding import Finding
from pipeline.findings.groups import groups
from pipeline.findings.joined import Joined
from pipeline.findings.pictures import Pictures
from pipeline.findings.single import odd_images
from pipeline.runtime.time_limit import check_time


def audit(competition: Competition, labelled: Pictures, test: Pictures | None, folder: Path) -> Iterator[Finding]:
    """What is found out about the images and labels, one kind after the other.

    test: None if these images are not looked at. folder: where the tables of the findings will be.
    Raises OutOfTime if a time limit passes meanwhile.
    """
    images = Joined(competition.task, (labelled, test) if test else (labelled,))
    yield from exact_duplicates(images, folder)
    check_time()
    if labelled.split.groups is None:  # they may come from the table of an earlier audit, which has to stay
        yield groups(competition, labelled, folder)
    if test:
        yield from drift(labelled, test)
    check_time()
    yield from class_counts(competition)
    yield from odd_images([labelled, test] if test else [labelled])
    check_time()
    if images.have_pixels:  # last, as it takes the longest
        yield similar_pictures(images, folder)
