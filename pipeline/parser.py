"""The parser of all command lines: the options that commands share, and what wrong ones are answered."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from competition.errors import UserError
from competition.storage import expanded
from pipeline.settings import MOST_IMAGES, MOST_PIXELS, MOST_SECONDS, MOST_SEED

READING = {  # options that say how to read a competition's tables, and what each names
    "train_table": "CSV of the training images",
    "image_column": "column with the image ids",
    "label_column": "column with the labels",
    "group_column": "column with what images share, e.g. the patient, who is then never on both sides of a split, or a "
    "CSV with the columns id and group",
}
OF_RECIPES = {"batch-size", "dropout", "learning-rate", "lr", "optimiser", "optimizer", "scheduler", "weight-decay"}
DIGITS = 20  # of a number; Python refuses to convert thousands


class Store(argparse.Action):
    """Store an option's value: a list that is given twice adds up, a single value that is given twice is refused."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(parser, Parser)
        before = parser.given.get(self.dest)
        if before is not None and not isinstance(values, list):
            parser.error(f"{option_string} was given twice: {_shown(before)} and {_shown(values)}; give it once")
        parser.given[self.dest] = values if before is None else [*before, *values]
        setattr(namespace, self.dest, parser.given[self.dest])


def _shown(value: object) -> str:
    return f"{value:g}s" if isinstance(value, float) else str(value)  # the only floats are times


class Parser(argparse.ArgumentParser):
    """A parser that rejects abbreviated options and reports every error in one line as a UserError.

    For an unknown option, the error suggests the most similar one.

    given: the values of the options that the command line has, by their names in the result.
    """

    def __init__(self, description: str) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self.given: dict[str, Any] = {}
        self.register("action", None, Store)  # of an option that is added without an action
        self.add_argument("--debug", action="store_true", help="show the traceback if an error occurs")

    def parse_args(  # type: ignore[override]  # argparse overloads it for the type of the namespace
        self, arguments: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        known, unknown = self.parse_known_args(arguments, namespace)
        if unknown:
            option = unknown[0].split("=")[0]
            self.error(f"unknown option {option}; {self._hint(option)}")
        return known

    def _hint(self, option: str) -> str:
        """What may have been meant by an option that there is not."""
        names = {name.lstrip("-"): name for name in self._option_string_actions}
        if option.lstrip("-") in OF_RECIPES:
            return "a recipe sets that: docs/RECIPES.md shows how to write one"
        from pipeline.command_lines import train_parser  # here, as it imports this module

        if option in train_parser()._option_string_actions:
            return "it is an option of train.py, leave it out here"
        if near := get_close_matches(option.lstrip("-"), names, n=1):
            return f"did you mean {names[near[0]]}?"
        if not option.startswith("-"):
            return "quote a path that has blanks in it; --help lists all options"
        return "--help lists them all"

    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):
            message += "; give a value after it, which does not begin with a dash"
        raise UserError(message)

    def add_competition_options(self) -> None:
        """Add the options that say which competition to read and where to work."""
        self.add_argument(
            "--competition",
            metavar="NAME|FOLDER|ZIP",
            help="name on Kaggle, folder or ZIP; default: the built-in rehearsal competition",
        )
        self.add_argument(
            "--data", type=existing, metavar="FOLDER|ZIP", help="folder or ZIP with the competition's files"
        )
        for option, what in READING.items():
            self.add_argument(
                f"--{option.replace('_', '-')}",
                type=column_or_csv if option == "group_column" else str,
                metavar="NAME",
                help=f"{what}; default: found in the files",
            )
        self.add_argument(
            "--work",
            type=folder,
            metavar="DIR",
            help="folder for runs/, submissions/ and downloaded data; default: the checkout, on Kaggle "
            "/kaggle/working, or without a checkout the current folder",
        )

    def add_metric_option(self) -> None:
        """Add the option of the commands that measure predictions."""
        from competition.metrics import METRICS  # here, because numpy is slow to import

        names = ", ".join(METRICS)
        self.add_argument(
            "--metric",
            metavar="NAME|FILE.py:FUNCTION",
            help=f"{names}; default: the competition's metric, or one that fits its sample submission",
        )

    def add_quiet_option(self) -> None:
        self.add_argument("--quiet", action="store_true", help="print only warnings, errors and the results")

    def add_training_options(self) -> None:
        """Add the options of the commands that train."""
        self.add_argument("--limit", type=positive, metavar="N", help="train on N images, stratified by class")
        self.add_cache_options()
        self.add_argument(
            "--seed", type=whole_number(0, MOST_SEED), default=0, metavar="N", help="seed of all randomness; default 0"
        )
        self.add_argument("--compile", action="store_true", help="compile networks with torch.compile before training")
        self.add_quiet_option()
        self.add_device_option()
        self.add_argument(
            "--weights", type=existing, metavar="FOLDER|FILE", help="where to look for ImageNet weights first"
        )
        self.add_argument(
            "--skip-unreadable",
            action="store_true",
            help="leave out training images that cannot be read, instead of stopping",
        )

    def add_cache_options(self) -> None:
        """Add the options that say how decoded images are kept."""
        self.add_argument(
            "--size",
            type=whole_number(1, MOST_PIXELS),
            metavar="PX",
            help="resize all images to PX x PX pixels; default: chosen for the images, the device and the budget",
        )
        self.add_argument(
            "--cache-size",
            type=data_size,
            metavar="SIZE",
            help="disk space for decoded images, e.g. 2G; larger sets are kept as JPEGs or read from their files; "
            "default: half of the free disk, at most the machine's memory",
        )

    def add_options_of_more_to_learn(self) -> None:
        """Add the options that let models learn from more than the contest's labels."""
        self.add_argument(
            "--extra",
            type=existing,
            metavar="FOLDER|CSV",
            help="further labelled pictures to train on: a folder for each class, or a CSV beside the images",
        )
        self.add_argument(
            "--relabel",
            type=existing,
            metavar="FILE",
            help="CSV with the columns id and label: train on these labels; an empty label leaves the image out, e.g. "
            "runs/NAME/audit/suspects.csv once you have corrected it",
        )
        self.add_argument(
            "--drop-conflicts",
            action="store_true",
            help="do not train on images that have an identical copy with another label",
        )
        self.add_argument(
            "--pseudo-labels",
            action="store_true",
            help="train on those test images, too, of which the blend of the models trained before is sure",
        )
        self.add_argument(
            "--distil",
            action="store_true",
            help="networks learn the mean of the labels and of what the blend of the models trained before says",
        )
        self.add_argument(
            "--refit",
            action="store_true",
            help="after their validation, train networks and regressions on features once more, on all labelled images",
        )

    def add_device_option(self) -> None:
        self.add_argument(
            "--device",
            choices=("auto", "cpu", "cuda", "mps"),
            default="auto",
            help="auto takes the GPUs that work (cuda, or Apple's mps), otherwise the CPU; default auto",
        )


def folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty; give a folder")
    if expanded(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is a file; give a folder")
    return Path(text)


def existing(text: str) -> Path:
    path = expanded(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist; give the path of a file or folder that does")
    return path


def column_or_csv(text: str) -> str:
    """The name of a column as it is; of a CSV, the absolute path, which is right in any folder."""
    path = expanded(text)
    if path.suffix and path.is_file():
        return str(path.resolve())
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        raise argparse.ArgumentTypeError(f"{text} is not there; give a CSV with the columns id and group, or a column")
    return text


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A function that reads a whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > DIGITS or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:DIGITS]!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


positive = whole_number(1, MOST_IMAGES)


def data_size(text: str) -> int:
    """The bytes in ``500M`` or ``2G``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])B?", text, re.IGNORECASE)
    if not match or len(text) > DIGITS:
        raise argparse.ArgumentTypeError(f"{text[:DIGITS]!r} is not a size; write 500M or 2G")
    return int(float(match[1]) * 1000 ** ("KMGT".index(match[2].upper()) + 1))


def seconds(text: str) -> float:
    """The seconds in ``90s``, ``5m`` or ``1h``; infinity for ``none``: no limit."""
    if text == "none":
        return math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write 90s, 5m, 1h or none")
    if not match[2]:
        raise argparse.ArgumentTypeError(f"{text}: seconds or minutes? write {text}s or {text}m")
    given = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
    if given > MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is longer than a year; write none for no limit")
    return given
