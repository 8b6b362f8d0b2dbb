"""Where a report lies: beside its submission."""

from pathlib import Path

PAGE, FIGURES = "report.html", "report"


def remove_report(submission: Path) -> None:
    """Remove the report on an earlier submission of that path, if there is one."""
    for path in (submission.with_name(PAGE), *submission.with_name(FIGURES).glob("*.png")):
        path.unlink(missing_ok=True)
