"""All that is looked for in a competition's images and labels."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from competition.spec import Competition
from competition.storage import discard
from pipeline.findings.classes import class_counts
from pipeline.findings.drift import drift
from pipeline.findings.duplicates import exact_duplicates, similar_pictures
from pipeline.findings.finding import Finding, read_findings, write_findings
from pipeline.findings.groups import groups
from pipeline.findings.joined import Joined
from pipeline.findings.pictures import Pictures
from pipeline.findings.single import odd_images
from pipeline.runtime.time_limit import OutOfTime, check_time
from pipeline.training.kept import keep, read_kept

KEPT = "audited.json"  # in the folder of the findings


@dataclass(frozen=True)
class Audited:
    """A complete audit. fingerprint: of everything that it depends on. kinds: of what was found."""

    fingerprint: str
    kinds: tuple[str, ...]


def audited(competition: Competition, labelled: Pictures, test: Pictures | None, folder: Path) -> list[Finding]:
    """What is found out about the images and labels, written to the folder; by an earlier audit, if nothing changed
    and its tables are there.

    If a time limit passes meanwhile, those findings count that were made before. Arguments: see ``audit``.
    """
    key = _fingerprint(competition, labelled, test)
    if (kept := read_kept(folder / KEPT, Audited, key)) is not None:
        before = read_findings(folder)
        if {each.kind for each in before}.issuperset(kept.kinds):
            return before
    discard(folder / KEPT)
    findings: list[Finding] = []
    is_complete = False
    with suppress(OutOfTime):
        for finding in audit(competition, labelled, test):
            findings.append(finding)
        is_complete = True
    write_findings(findings, folder, with_others=False)
    if is_complete:
        keep(folder / KEPT, Audited(key, tuple(each.kind for each in findings if len(each.table))))
    return read_findings(folder)


def _fingerprint(competition: Competition, labelled: Pictures, test: Pictures | None) -> str:
    found = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))
    found.update(repr(competition.task).encode())  # with the names of classes, which tables of labels hold
    found.update(np.ascontiguousarray(labelled.split.known_labels).data)
    parts = [labelled, test] if test else [labelled]
    names = [each.images.name if each.images else "" for each in parts]
    found.update(json.dumps([names, len(labelled), labelled.trained, labelled.split.groups is None]).encode())
    return found.hexdigest()


def audit(competition: Competition, labelled: Pictures, test: Pictures | None) -> Iterator[Finding]:
    """What is found out about the images and labels, one kind after the other.

    test: None if these images are not looked at.
    Raises OutOfTime if a time limit passes meanwhile.
    """
    images = Joined(competition.task, (labelled, test) if test else (labelled,))
    yield from exact_duplicates(images)
    check_time()
    if labelled.split.groups is None:  # they may come from the table of an earlier audit, which has to stay
        yield groups(competition, labelled)
    if test:
        yield from drift(labelled, test)
    check_time()
    yield from class_counts(competition)
    yield from odd_images(competition.task, [labelled, test] if test else [labelled])
    check_time()
    if images.have_pixels:  # last, as it takes the longest
        yield similar_pictures(images)
