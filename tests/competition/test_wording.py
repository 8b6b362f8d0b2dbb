"""The words of messages."""

import pytest

from competition.wording import size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (3.25e9, "3.2 GB"),
        (1.2345e15, "1,234.5 TB"),
    ],
)
def test_a_number_of_bytes_has_the_unit_that_fits(count, text):
    assert size_text(count) == text
