"""--quiet: warnings and results, nothing else."""

import io
import sys

from competition.console import print_result, quiet
from competition.progress import Progress


def test_only_warnings_and_results_are_printed(capsys):
    with quiet():
        print("decoded")
        print("warning: two images", end="")
        print(" cannot be read")
        print_result("submission.csv")
        assert not Progress.shown
    print("after")
    assert capsys.readouterr().out == "warning: two images cannot be read\nsubmission.csv\nafter\n"


def test_a_result_is_printed_without_quiet_as_well(capsys):
    print_result("submission.csv")
    assert capsys.readouterr().out == "submission.csv\n"


def test_no_bar_is_shown():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file = Terminal()
    with quiet():
        list(Progress(range(3), file=file))
    assert file.getvalue() == "" and sys.stdout is not None
