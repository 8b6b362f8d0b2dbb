"""Settings: what the command line said, where things lie (checkout or Kaggle), the device, the budget."""

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn, TypedDict

from competition.errors import UserError
from competition.storage import KAGGLE_INPUT, KAGGLE_WORKING, default_work_folder

DEFAULT_BUDGET = 300.0
TUNING_BUDGET, TRIALS = 1800.0, 20
KERNEL_BUDGET = "8h"  # leaves the rest of a session to predicting
LOCAL_OPTIONS = ("--data", "--work", "--plan")  # about files of this machine, which a notebook does not have
BEGUN = time.monotonic()  # commands.py imports this module before anything that takes long to import

if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_MININTERVAL", "10")  # a log needs no ten progress lines a second
if os.environ.get("RANK", "0") != "0":
    os.environ["TQDM_DISABLE"] = "1"  # of the processes that torchrun starts, one shows how far they all are


class Source(TypedDict):
    """Where a competition's files are and how they are read, as ``open_competition`` takes it."""

    competition: str | None
    data: Path | None
    data_folder: Path
    image_column: str | None
    label_column: str | None
    metric: str | None


@dataclass(frozen=True)
class Settings:
    """What one command works with.

    metric: what the models are chosen and ordered by; None leaves it to the competition.
    models: names or patterns; without any, train.py takes the portfolio, predict.py what was trained.
    work: holds runs/, recipes/, submissions/ and competition/data/.
    budget: seconds of wall clock for the whole of train.py or tune.py; None leaves every recipe its own epochs.
    size: pixels a side of the cached images; None keeps a small native size.
    compile: networks are compiled before they are trained.
    weights: a file or folder where ImageNet weights are looked for first.
    trials: of a study, all its processes together.
    storage: an address or a path where a study is kept; None keeps it below runs/.
    name: of the recipe that the best trial makes.
    """

    competition: str | None
    data: Path | None
    work: Path
    image_column: str | None
    label_column: str | None
    models: tuple[str, ...]
    device: str
    metric: str | None = None
    budget: float | None = None
    epochs: int | None = None
    plan: Path | None = None
    limit: int | None = None
    folds: int | None = None
    size: int | None = None
    seed: int = 0
    fresh: bool = False
    skip_unreadable: bool = False
    compile: bool = False
    weights: Path | None = None
    trials: int = TRIALS
    storage: str | None = None
    name: str | None = None
    test_time_views: bool = True
    report: bool = True
    debug: bool = False

    @property
    def data_folder(self) -> Path:
        return data_folder(self.work)

    @property
    def source(self) -> Source:
        return {
            "competition": self.competition,
            "data": self.data,
            "data_folder": self.data_folder,
            "image_column": self.image_column,
            "label_column": self.label_column,
            "metric": self.metric,
        }

    @property
    def cache_folder(self) -> Path:
        return self.data_folder / "cache"

    @property
    def recipes_folder(self) -> Path:
        """Recipes besides those that ship: what tune.py has found, and the user's own."""
        return self.work / "recipes"

    def runs_folder(self, competition: str) -> Path:
        return self.work / "runs" / competition

    def submissions_folder(self, competition: str) -> Path:
        return self.work / "submissions" / competition


def work_folder(work: Path | None) -> Path:
    """The folder that holds runs/, submissions/ and competition/data/."""
    return default_work_folder() if work is None else work.expanduser().resolve()


def data_folder(work: Path | None) -> Path:
    """Where fetched data and caches are kept."""
    return work_folder(work) / "competition" / "data"


class Parser(argparse.ArgumentParser):
    """Refuses abbreviations, and answers a typo with the nearest option, in one line."""

    def __init__(self, description: str) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def parse_args(  # type: ignore[override]  # argparse overloads it for the type of the namespace
        self, arguments: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        known, unknown = self.parse_known_args(arguments, namespace)
        if unknown:
            option = unknown[0].split("=")[0]
            near = get_close_matches(option, self._option_string_actions, n=1)
            hint = f"did you mean {near[0]}?" if near else "--help lists them all"
            self.error(f"unknown option {option}; {hint}")
        return known

    def error(self, message: str) -> NoReturn:
        raise UserError(message)

    def add_competition_options(self) -> None:
        """The options that every command shares."""
        self.add_argument(
            "--competition", metavar="NAME|FOLDER|ZIP", help="default: the built-in rehearsal competition"
        )
        self.add_argument("--data", type=existing, metavar="FOLDER|ZIP", help="where the competition's files are")
        self.add_argument("--image-column", metavar="NAME", help="default: found from the tables")
        self.add_argument("--label-column", metavar="NAME", help="default: found from the tables")
        self.add_argument("--work", type=Path, metavar="DIR", help="holds runs/ and submissions/")

    def add_metric_option(self) -> None:
        """The option of the doors that measure predictions."""
        from competition.metrics import METRICS  # here, since numpy takes a while to import

        names = ", ".join(METRICS)
        self.add_argument("--metric", metavar="NAME", help=f"{names}; default: the competition's, else accuracy")

    def add_training_options(self) -> None:
        """The options of the commands that train."""
        self.add_argument("--limit", type=positive, metavar="N", help="train on N images only, stratified")
        self.add_argument("--size", type=positive, metavar="PX", help="resize images to PX pixels a side")
        self.add_argument("--seed", type=not_negative, default=0, metavar="N", help="default 0")
        self.add_argument("--compile", action="store_true", help="train networks compiled by torch.compile")
        self.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        self.add_argument("--weights", type=existing, metavar="FOLDER|FILE", help="where ImageNet weights lie")
        self.add_argument(
            "--skip-unreadable", action="store_true", help="leave out training images that cannot be read"
        )


def existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist; give the path of a file or folder that does")
    return path


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or above")
    return int(text)


def seconds(text: str) -> float:
    """``90s``, ``5m``, ``1h`` or plain seconds; ``none`` is for ever."""
    if text == "none":
        return math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write 90s, 5m, 1h or none")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def train_settings(arguments: list[str]) -> Settings:
    """Parse train.py's command line. Raises UserError for whatever is wrong with it."""
    parser = Parser("Train models on a competition's images and score them on its validation images.")
    parser.add_competition_options()
    parser.add_metric_option()
    parser.add_argument(
        "--models", nargs="+", metavar="RECIPE|FILE", help="names, patterns such as 'dhc-*', or TOML files"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="wall clock of the whole run, e.g. 90s, 10m, 1h; default 5m; none: the recipes' own epochs",
    )
    length.add_argument("--epochs", type=positive, metavar="N", help="epochs of every network, no budget")
    length.add_argument("--plan", type=existing, metavar="FILE", help="repeat the run that wrote this plan.json")
    parser.add_argument("--folds", type=positive, metavar="K", help="K stratified folds instead of one split")
    parser.add_argument("--fresh", action="store_true", help="train again what is already trained")
    parser.add_training_options()
    options = parser.parse_args(arguments)
    if options.folds == 1:
        parser.error("argument --folds: one fold has nothing to validate on; give 2 or more")
    options.budget = _budget(options, None if options.plan else DEFAULT_BUDGET)
    return _settings(options, options.models or ())


def tune_settings(arguments: list[str]) -> Settings:
    """Parse tune.py's command line. Raises UserError for whatever is wrong with it."""
    parser = Parser("Search for better values of a recipe's settings, and write the best as a recipe of its own.")
    parser.add_competition_options()
    parser.add_metric_option()
    parser.add_argument("--model", metavar="RECIPE|FILE", required=True, help="the recipe to begin with")
    parser.add_argument("--name", metavar="RECIPE", help="of the recipe to write; default: RECIPE-tuned")
    parser.add_argument("--trials", type=positive, default=TRIALS, metavar="N", help=f"of the study; default {TRIALS}")
    parser.add_argument(
        "--storage",
        metavar="ADDRESS|FILE",
        help="where several processes or machines share a study: sqlite:///FILE, mysql://..., or a journal file",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="wall clock of this whole command; a trial gets its share of it; default 30m; none: the recipe's epochs",
    )
    length.add_argument("--epochs", type=positive, metavar="N", help="epochs of every trial, no budget")
    parser.add_training_options()
    options = parser.parse_args(arguments)
    options.budget = _budget(options, TUNING_BUDGET)
    options.name = options.name or f"{Path(options.model.removesuffix('.toml')).name}-tuned"
    return _settings(options, [vars(options).pop("model")])


def _budget(options: argparse.Namespace, default: float | None) -> float | None:
    """The seconds asked for; None without a limit."""
    given = options.budget or (default if options.epochs is None else None)
    return None if given == math.inf else given


def predict_settings(arguments: list[str]) -> Settings:
    """Parse predict.py's command line. Raises UserError for whatever is wrong with it."""
    parser = Parser("Blend the trained models and write a submission.")
    parser.add_competition_options()
    parser.add_metric_option()
    parser.add_argument("--models", nargs="+", metavar="RECIPE", help="blend these alone; names or patterns")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--no-tta", action="store_true", help="one view of each image: faster, less accurate")
    parser.add_argument("--no-report", action="store_true", help="write the submission alone")
    options = parser.parse_args(arguments)
    return _settings(options, options.models or ())


def _settings(options: argparse.Namespace, models: Iterable[str]) -> Settings:
    given = vars(options) | {"models": tuple(models), "work": work_folder(options.work)}
    given["test_time_views"] = not given.pop("no_tta", False)
    given["report"] = not given.pop("no_report", False)
    return Settings(**given)


def submit_options(arguments: list[str]) -> argparse.Namespace:
    """Parse submit.py's command line. Raises UserError for whatever is wrong with it."""
    parser = Parser("Check a CSV, submit it to Kaggle, wait for its score; a line of submissions/ledger.csv keeps it.")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: the CSV that predict.py wrote")
    parser.add_competition_options()
    parser.add_argument("--kernel", metavar="USER/NAME", help="wait for this kernel and submit the CSV it writes")
    parser.add_argument("--message", metavar="TEXT", help="what was tried; default: the recipes")
    parser.add_argument("--again", action="store_true", help="send bytes that were sent before")
    parser.add_argument("--check", action="store_true", help="only say whether the CSV would be accepted")
    given = parser.parse_args(arguments)
    if given.kernel and given.file:
        parser.error("give a FILE or --kernel, not both")
    if given.kernel and len(given.kernel.split("/")) != 2:
        parser.error(f"argument --kernel: {given.kernel!r} is not USER/NAME, as in the address of the kernel's page")
    return given


def bundle_options(arguments: list[str]) -> argparse.Namespace:
    """Parse bundle.py's command line, its ``options`` and ``models`` being those of train.py in the notebook.

    Raises UserError for whatever is wrong with it, also for what train.py would refuse there.
    """
    parser = Parser("Pack the pipeline into one script for Kaggle; other options are train.py's, for the notebook.")
    parser.add_argument("--competition", metavar="NAME", required=True, help="as in its page's address")
    parser.add_argument("--user", metavar="NAME", help="whose kernel it is; default: the kaggle client's user")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: kernel/kernel.py in the work folder")
    parser.add_argument("--predict-only", action="store_true", help="answer with the runs an earlier kernel has left")
    for kind in ("dataset", "kernel", "model"):
        parser.add_argument(f"--{kind}-sources", nargs="+", metavar="USER/NAME", default=[], help="further inputs")
    given, options = parser.parse_known_args(arguments)
    if local := [option for option in options if option.split("=")[0] in LOCAL_OPTIONS]:
        parser.error(f"{local[0]} is about a file of this machine, which the notebook does not have; leave it out")
    if not re.fullmatch(r"[a-z0-9-]+", given.competition):
        parser.error(f"argument --competition: {given.competition!r} is no name as in a competition page's address")
    timed = any(option.split("=")[0] in ("--budget", "--epochs") for option in options)
    given.options = options if given.predict_only or timed else [*options, "--budget", KERNEL_BUDGET]
    given.models = (predict_settings if given.predict_only else train_settings)(given.options).models
    if own := [model for model in given.models if model.endswith(".toml")]:
        parser.error(f"{own[0]} names a file of this machine, which the notebook cannot see; name a recipe that ships")
    given.output = (given.output or work_folder(None) / "kernel" / "kernel.py").expanduser().resolve()
    return given


def kernel_options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse kernel.py's command line: its own options, and those that it passes on."""
    parser = Parser("Train and predict in a notebook, with what is mounted there; other options go to train.py.")
    parser.add_argument("--competition", metavar="NAME", required=True)
    parser.add_argument("--predict-only", action="store_true", help="with the runs that an earlier kernel has left")
    parser.add_argument("--input", type=Path, metavar="DIR", default=KAGGLE_INPUT)
    parser.add_argument("--work", type=Path, metavar="DIR", default=KAGGLE_WORKING)
    return parser.parse_known_args(arguments)
