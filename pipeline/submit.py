"""Check a submission before it is sent: ``python pipeline/submit.py --check FILE --competition NAME``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from competition.sources import open_competition
from pipeline.answers.submission import check_submission
from pipeline.settings import Parser, data_folder, run_door


def main(arguments: list[str]) -> None:
    parser = Parser("Say whether a CSV would be accepted as a submission, sending nothing.")
    parser.add_argument("--check", type=Path, metavar="FILE", required=True, help="the CSV to check")
    parser.add_competition_options()
    given = parser.parse_args(arguments)
    competition = open_competition(
        given.competition, given.data, data_folder(given.work), given.image_column, given.label_column
    )
    print(f"ok: {check_submission(competition, given.check)}")


if __name__ == "__main__":
    run_door(main)
