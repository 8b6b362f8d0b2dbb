"""The audit's benchmark: as many changed copies of each kind are planted, and those that are found are counted."""

from collections import Counter
from pathlib import Path

import cv2
import pandas as pd

from benchmarks.audit import CHANGES, COPY, judged, plant
from benchmarks.cache import draw_images
from pipeline.findings.finding import Finding


def test_as_many_copies_of_each_kind_are_planted_and_differ_from_their_originals(tmp_path):
    folder = draw_images(tmp_path / "images", 12)
    plant(folder, 8)
    copies = [path for path in folder.iterdir() if COPY in path.name]
    assert Counter(path.name.split(COPY)[0] for path in copies) == dict.fromkeys(CHANGES, 2)
    for path in copies:
        original = cv2.imread(str(folder / f"{path.stem.split(COPY)[1]}.jpg"))
        image = cv2.imread(str(path))
        assert image.shape != original.shape or (image != original).any()


def test_copies_that_are_found_are_counted_by_kind_and_other_pairs_by_their_images():
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", f"cropped{COPY}a.png", f"cropped{COPY}b.png", f"mirrored{COPY}c.png"]
    table = pd.DataFrame({"id": [names[4], "c.jpg", "d.jpg"], "other_id": ["a.jpg", names[6], "b.jpg"]})
    facts = judged([Finding("similar", "", table)], [Path(name) for name in names])
    assert facts["cropped"] == 0.5 and facts["mirrored"] == 1.0
    assert facts["other images taken for copies"] == 0.5
