"""The audit that train.py makes of its images, within a share of the budget."""

import math
import time

from competition.spec import Competition
from pipeline.data.cache import open_cache
from pipeline.data.training_data import TrainingData
from pipeline.findings.audit import audited
from pipeline.findings.finding import FOLDER
from pipeline.findings.pictures import Pictures
from pipeline.findings.single import UNREADABLE
from pipeline.runtime.time_limit import OutOfTime, time_limit
from pipeline.settings import Settings

AUDIT_SHARE = 0.05  # of the budget, at most, for what may be wrong with the data


def audit_data(competition: Competition, training_data: TrainingData, settings: Settings, decoding: float) -> None:
    """Look for what is wrong with the images and labels, write it, and print what has a bearing on the answer.

    It takes AUDIT_SHARE of the budget at most. Nothing that is found changes the training.
    decoding: seconds that it took to open the labelled images.
    """
    share = math.inf if settings.budget is None else AUDIT_SHARE * settings.budget
    with time_limit(time.monotonic() + share):
        labelled = Pictures.labelled(competition, training_data.images.whole)
        test = test_pictures(competition, training_data, settings, share / 2, decoding)
        findings = audited(competition, labelled, test, settings.runs_folder(competition.name) / FOLDER)
    for finding in findings:
        if finding.told and finding.kind != UNREADABLE:  # of which there was a warning
            print(f"data: {finding.told}")


def test_pictures(
    competition: Competition, training_data: TrainingData, settings: Settings, seconds: float, decoding: float
) -> Pictures | None:
    """The test images, which predict.py will find decoded; None if decoding them takes longer than these seconds.

    decoding: seconds that it took to open the labelled images.
    """
    if decoding * len(competition.test) > seconds * training_data.labelled:
        return None
    sizes = training_data.sizes
    try:
        with time_limit(time.monotonic() + seconds):
            images = open_cache(
                competition.test.paths, settings.cache_folder, sizes.cached, fit=sizes.fit, most=settings.cache_size
            )
    except OutOfTime:
        return None
    return Pictures.test(competition, images)
