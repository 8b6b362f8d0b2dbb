from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from pipeline.kaggle.ledger import Note, new_entry
from pipeline.report.sent import sent_from

NOTE = Note("0" * 64, {"sprint": 1.0}, 0.9, 0.85, 0.925, "f1-macro")


def test_the_scores_of_the_ledger_become_numbers():
    entry = replace(new_entry("zoo", Path("a.csv"), "1", "", NOTE), public="0.91000", private="")
    (sent,) = sent_from([entry])
    assert (sent.validation, sent.low, sent.high, sent.public, sent.metric) == (0.9, 0.85, 0.925, 0.91, "f1-macro")
    assert isnan(sent.private) and sent.has_both_scores and sent.lies_within


@pytest.mark.parametrize("changes", [{"public": ""}, {"public": "not shown"}, {"validation": ""}])
def test_what_is_no_number_is_unknown(changes):
    (sent,) = sent_from([replace(new_entry("zoo", Path("a.csv"), "1", "", NOTE), **changes)])
    assert not sent.has_both_scores
