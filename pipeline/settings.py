"""Settings: the parsed command line, and the folders that follow from it (in the checkout or on Kaggle)."""

import argparse
import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypedDict

from competition.errors import UserError
from competition.storage import KAGGLE_INPUT, KAGGLE_WORKING, default_work_folder, expanded

DEFAULT_BUDGET = 300.0
TUNING_BUDGET, TRIALS = 1800.0, 20
KERNEL_BUDGET = "8h"  # the rest of a notebook session is for predicting
SESSION = 12 * 3600.0  # seconds after which Kaggle ends a notebook
MOST_IMAGES, MOST_FOLDS, MOST_EPOCHS, MOST_TRIALS = 10**9, 10**6, 10**6, 10**6
MOST_PIXELS = 10_000  # a side
MOST_SECONDS = 366 * 24 * 3600.0  # of a budget
MOST_SEED = 2**31 - 1  # scikit-learn takes seeds below 2**32, and folds add to the seed
DIGITS = 20  # of a number; Python refuses to convert thousands
SET_BY_PLAN = ("models", "limit", "folds", "size", "seed")  # options of train.py
READING = {  # options that say how to read a competition's tables, and what each names
    "train_table": "CSV of the training images",
    "image_column": "column with the image ids",
    "label_column": "column with the labels",
    "group_column": "column with what images share, e.g. the patient, who is then never on both sides of a split, or a "
    "CSV with the columns id and group",
}
OF_RECIPES = {"batch-size", "dropout", "learning-rate", "lr", "optimiser", "optimizer", "scheduler", "weight-decay"}
LOCAL_OPTIONS = ("--data", "--work", "--plan")  # they name files of this machine, which a notebook cannot see
MODEL_PARTS = 5  # of a model's address on Kaggle
BEGUN = time.monotonic()  # the command's start: commands.py imports this module before the slow ones


class Source(TypedDict):
    """Where a competition's files are and how to read them: the arguments of ``open_competition``."""

    competition: str | None
    data: Path | None
    data_folder: Path
    train_table: str | None
    image_column: str | None
    label_column: str | None
    group_column: str | None
    metric: str | None


@dataclass(frozen=True)
class Settings:
    """The settings of one command.

    work: the folder of runs/, recipes/, submissions/ and competition/data/.
    models: names or patterns of recipes. If empty, train.py uses the portfolio for the budget, and predict.py uses
        all trained models.
    metric: chooses and ranks the models; None: the competition's metric.
    budget: seconds of wall clock for the whole of train.py or tune.py; None: no limit, every recipe trains its own
        epochs.
    size: height and width of the cached images in pixels; None: chosen for the images and the budget.
    cache_size: bytes of cached images on the disk; None: as there is room.
    extra: folder or CSV of labelled pictures that are trained on besides the competition's.
    relabel: CSV of corrected labels of training images.
    drop_conflicts: leave out training images whose pixels another image has with another label.
    pseudo_labels: train on the test images, too, with what the blend of earlier runs says of them.
    distil: train on a mean of the labels and of what that blend says of the training images.
    refit: after its validation, train each network once more, on all labelled images.
    compile: compile networks with torch.compile before training.
    weights: the file or folder that is searched first for ImageNet weights.
    trials: trials of the study, over all its processes.
    storage: database address or path of the study; None: a journal file below runs/.
    tensorboard: write TensorBoard's event files, too.
    begun: when the command began, on the clock of ``time.monotonic``; budgets count from then.
    name: name of the recipe that tune.py writes; None: that of the recipe it starts from, of the competition and, if
        another study has written that, a number.
    """

    competition: str | None
    data: Path | None
    work: Path
    train_table: str | None
    image_column: str | None
    label_column: str | None
    group_column: str | None
    models: tuple[str, ...]
    device: str = "auto"
    metric: str | None = None
    budget: float | None = None
    epochs: int | None = None
    plan: Path | None = None
    limit: int | None = None
    folds: int | None = None
    size: int | None = None
    cache_size: int | None = None
    seed: int = 0
    extra: Path | None = None
    relabel: Path | None = None
    drop_conflicts: bool = False
    pseudo_labels: bool = False
    distil: bool = False
    refit: bool = False
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
    quiet: bool = False
    tensorboard: bool = False
    begun: float = field(default_factory=lambda: BEGUN)

    @property
    def data_folder(self) -> Path:
        return data_folder(self.work)

    @property
    def source(self) -> Source:
        return {
            "competition": self.competition,
            "data": self.data,
            "data_folder": self.data_folder,
            "train_table": self.train_table,
            "image_column": self.image_column,
            "label_column": self.label_column,
            "group_column": self.group_column,
            "metric": self.metric,
        }

    @property
    def cache_folder(self) -> Path:
        return self.data_folder / "cache"

    @property
    def recipes_folder(self) -> Path:
        """The folder of the recipes that tune.py writes and of the user's own."""
        return self.work / "recipes"

    def runs_folder(self, competition: str) -> Path:
        return self.work / "runs" / competition

    def submissions_folder(self, competition: str) -> Path:
        return self.work / "submissions" / competition

    def submission(self, competition: str) -> Path:
        return self.submissions_folder(competition) / "submission.csv"


def work_folder(work: Path | None) -> Path:
    """The absolute path of the folder for runs/, submissions/ and competition/data/."""
    return default_work_folder() if work is None else expanded(work).resolve()


def data_folder(work: Path | None) -> Path:
    """The folder for downloaded data and caches."""
    return work_folder(work) / "competition" / "data"


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


def train_parser() -> Parser:
    parser = Parser("Train models on a competition's images and score them on its validation images.")
    parser.add_competition_options()
    parser.add_metric_option()
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="RECIPE|FILE",
        help="recipes by name, pattern ('dhc-*') or TOML file, or networks: timm/NAME, torchvision/NAME; default: a "
        "portfolio for the budget",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="wall clock of the whole run: 90s, 10m, 1h, or none for the recipes' own epochs; default 5m",
    )
    length.add_argument(
        "--epochs", type=whole_number(1, MOST_EPOCHS), metavar="N", help="epochs of every network, without a budget"
    )
    length.add_argument("--plan", type=existing, metavar="FILE", help="repeat the run that wrote this plan.json")
    parser.add_argument(
        "--folds",
        type=whole_number(1, MOST_FOLDS),
        metavar="K",
        help="train K models on K stratified folds; default: 5 or fewer for a small set of images, else 1: no folds",
    )
    parser.add_options_of_more_to_learn()
    parser.add_argument("--fresh", action="store_true", help="train again, even if the models are already trained")
    parser.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard's event files, for tensorboard --logdir runs/NAME"
    )
    parser.add_training_options()
    return parser


def train_settings(arguments: list[str]) -> Settings:
    """Parse train.py's command line. Raises UserError if it is wrong."""
    parser = train_parser()
    options = parser.parse_args(arguments)
    if options.plan and (also := [name for name in SET_BY_PLAN if name in parser.given]):
        parser.error(f"argument --{also[0]}: not allowed with argument --plan, which sets it")
    if options.refit and (options.pseudo_labels or options.distil):
        parser.error("argument --refit: not allowed with --pseudo-labels or --distil, whose lessons are for a split")
    options.budget = _budget(options, None if options.plan else DEFAULT_BUDGET)
    return _settings(options, options.models or ())


def tune_parser() -> Parser:
    parser = Parser("Search for better settings of a recipe and write the best as a new recipe.")
    parser.add_competition_options()
    parser.add_metric_option()
    parser.add_argument("--model", metavar="RECIPE|FILE", required=True, help="the recipe to start from")
    parser.add_argument(
        "--name", metavar="RECIPE", help="name of the recipe to write; default: RECIPE-tuned-COMPETITION"
    )
    parser.add_argument(
        "--trials",
        type=whole_number(1, MOST_TRIALS),
        default=TRIALS,
        metavar="N",
        help=f"trials of the study, over all its processes; default {TRIALS}",
    )
    parser.add_argument(
        "--storage",
        metavar="ADDRESS|FILE",
        help="where processes or machines share a study: a database address (sqlite:///FILE, mysql://...) or a "
        "journal file",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="wall clock of the whole command, shared among the trials; default 30m; none: the recipe's epochs",
    )
    length.add_argument(
        "--epochs", type=whole_number(1, MOST_EPOCHS), metavar="N", help="epochs of every trial, without a budget"
    )
    parser.add_training_options()
    return parser


def tune_settings(arguments: list[str]) -> Settings:
    """Parse tune.py's command line. Raises UserError if it is wrong."""
    options = tune_parser().parse_args(arguments)
    options.budget = _budget(options, TUNING_BUDGET)
    return _settings(options, [vars(options).pop("model")])


def _budget(options: argparse.Namespace, default: float | None) -> float | None:
    """The budget in seconds; None: no limit."""
    given = options.budget or (default if options.epochs is None else None)
    return None if given == math.inf else given


def predict_parser() -> Parser:
    parser = Parser("Blend the trained models, predict the test images and write a submission.")
    parser.add_competition_options()
    parser.add_metric_option()
    parser.add_argument("--models", nargs="+", metavar="RECIPE", help="blend only these; names or patterns")
    parser.add_device_option()
    parser.add_argument(
        "--no-tta", action="store_true", help="predict from one view of each image: faster, less accurate"
    )
    parser.add_argument("--no-report", action="store_true", help="do not write the report")
    parser.add_quiet_option()
    return parser


def predict_settings(arguments: list[str]) -> Settings:
    """Parse predict.py's command line. Raises UserError if it is wrong."""
    options = predict_parser().parse_args(arguments)
    return _settings(options, options.models or ())


def compare_parser() -> Parser:
    parser = Parser("Compare the trained runs: what each option changed, and whether that is more than chance.")
    parser.add_competition_options()
    parser.add_metric_option()
    parser.add_argument("--models", nargs="+", metavar="RUN", help="compare only these; names or patterns")
    parser.add_quiet_option()
    return parser


def compare_settings(arguments: list[str]) -> Settings:
    """Parse compare.py's command line. Raises UserError if it is wrong."""
    options = compare_parser().parse_args(arguments)
    return _settings(options, options.models or ())


def audit_parser() -> Parser:
    parser = Parser("Look for what is wrong with a competition's images and labels, and write it to runs/NAME/audit/.")
    parser.add_competition_options()
    parser.add_cache_options()
    parser.add_quiet_option()
    return parser


def audit_settings(arguments: list[str]) -> Settings:
    """Parse audit.py's command line. Raises UserError if it is wrong."""
    options = audit_parser().parse_args(arguments)
    options.budget = DEFAULT_BUDGET  # it decides the size of the images, which are then cached as for train.py
    return _settings(options, ())


def _settings(options: argparse.Namespace, models: Iterable[str]) -> Settings:
    given = vars(options) | {"models": tuple(models), "work": work_folder(options.work)}
    given["test_time_views"] = not given.pop("no_tta", False)
    given["report"] = not given.pop("no_report", False)
    return Settings(**given)


def submit_parser() -> Parser:
    parser = Parser("Check a CSV, submit it to Kaggle, wait for its score and record it in submissions/ledger.csv.")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: the CSV that predict.py wrote")
    parser.add_competition_options()
    parser.add_argument("--kernel", metavar="USER/NAME", help="wait for this kernel and submit the CSV it writes")
    parser.add_argument("--message", metavar="TEXT", help="description on Kaggle; default: the recipes")
    parser.add_argument("--again", action="store_true", help="send a file that was sent before")
    parser.add_argument("--check", action="store_true", help="check the CSV and send nothing")
    return parser


def submit_options(arguments: list[str]) -> argparse.Namespace:
    """Parse submit.py's command line. Raises UserError if it is wrong."""
    parser = submit_parser()
    given = parser.parse_args(arguments)
    if given.kernel and given.file:
        parser.error("give a FILE or --kernel, not both")
    if given.kernel and len(given.kernel.split("/")) != 2:
        parser.error(f"argument --kernel: {given.kernel!r} is not USER/NAME, as in the address of the kernel's page")
    return given


BELOW_INPUT = "a path below /kaggle/input"
IN_NOTEBOOK = (  # options of train.py that name files in the notebook, what they name, and what it is for
    ("--weights", "FOLDER|FILE", "where train.py looks for ImageNet weights first"),
    ("--extra", "FOLDER|CSV", "labelled pictures that train.py also trains on"),
    ("--relabel", "FILE", "CSV of corrected labels that train.py trains on"),
)


def bundle_parser() -> Parser:
    parser = Parser("Pack the pipeline into one script for Kaggle. All other options are passed to train.py there.")
    parser.add_argument(
        "--competition", metavar="NAME", required=True, help="last part of the competition's address on Kaggle"
    )
    parser.add_argument("--user", metavar="NAME", help="owner of the kernel; default: the kaggle client's user")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: kernel/kernel.py in the work folder")
    parser.add_argument(
        "--predict-only",
        action="store_true",
        help="predict with the models of an earlier kernel, without training",
    )
    parser.add_argument(
        "--accelerator",
        type=accelerator,
        metavar="NAME",
        help="GPU of the notebook, as for `kaggle kernels push`; default: NvidiaTeslaT4 if a recipe is a network",
    )
    for option, kinds, use in IN_NOTEBOOK:
        parser.add_argument(option, type=in_notebook, metavar=kinds, help=f"{use} in the notebook: {BELOW_INPUT}")
    for kind in ("dataset", "kernel"):
        parser.add_argument(f"--{kind}-sources", nargs="+", metavar="USER/NAME", default=[], help=f"{kind}s to attach")
    parser.add_argument(
        "--model-sources",
        nargs="+",
        type=model_source,
        metavar="OWNER/MODEL/FRAMEWORK/VARIATION/VERSION",
        default=[],
        help="models to attach, such as the weights of a network of timm",
    )
    return parser


def bundle_options(arguments: list[str]) -> argparse.Namespace:
    """Parse bundle.py's command line. The result's ``options`` and ``models`` are for train.py in the notebook.

    With --predict-only, they are for predict.py.
    Raises UserError if the command line is wrong, or if train.py or predict.py would reject its options there.
    """
    parser = bundle_parser()
    given, options = parser.parse_known_args(arguments)
    if local := [option for option in options if option.split("=")[0] in LOCAL_OPTIONS]:
        parser.error(f"{local[0]} names a file of this machine, which the notebook cannot see; leave it out")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", given.competition, re.ASCII):
        parser.error(
            f"argument --competition: {given.competition!r} is not a competition's name; use the last part of its "
            "address"
        )
    timed = any(option.split("=")[0] in ("--budget", "--epochs") for option in options)
    given.options = options if given.predict_only or timed else [*options, "--budget", KERNEL_BUDGET]
    settings = (predict_settings if given.predict_only else train_settings)(given.options)
    if settings.budget is not None and settings.budget >= SESSION:
        parser.error(
            f"argument --budget: a notebook ends after {SESSION / 3600:.0f} hours, and predicting takes some of them; "
            f"give less, e.g. {KERNEL_BUDGET}"
        )
    given.models = settings.models
    if own := [model for model in given.models if model.endswith(".toml")]:
        parser.error(f"{own[0]} names a file of this machine, which the notebook cannot see; name a built-in recipe")
    for option, place in {"--weights": given.weights, "--extra": given.extra, "--relabel": given.relabel}.items():
        if place and given.predict_only:
            parser.error(f"argument {option}: trained models need none; leave it out")
        given.options += [option, place] if place else []
    given.output = expanded(given.output or work_folder(None) / "kernel" / "kernel.py").resolve()
    return given


def accelerator(text: str) -> str:
    """The name of a GPU on Kaggle. Kaggle would give a session that asks for a retired one something else."""
    if text.casefold() == "nvidiateslap100":
        raise argparse.ArgumentTypeError(f"{text} is retired; give NvidiaTeslaT4")
    if not text.casefold().startswith("nvidia"):
        raise argparse.ArgumentTypeError(f"{text} is not a GPU, which is all that networks can use; give NvidiaTeslaT4")
    return text


def model_source(text: str) -> str:
    if len([part for part in text.split("/") if part]) != MODEL_PARTS:
        form = "OWNER/MODEL/FRAMEWORK/VARIATION/VERSION, e.g. timm/resnet/pyTorch/resnet18/1"
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}; copy it from the model's page on Kaggle")
    return text


def in_notebook(text: str) -> str:
    if not PurePosixPath(text).is_relative_to(KAGGLE_INPUT.as_posix()):
        place = "give the path that it will have there, e.g. /kaggle/input/datasets/USER/NAME"
        raise argparse.ArgumentTypeError(f"the notebook cannot see {text}; {place}")
    return text


def kernel_options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse kernel.py's command line. Returns its own options and the arguments for train.py or predict.py."""
    parser = Parser("Train and predict in a notebook, on its mounted inputs. All other options go to train.py.")
    parser.add_argument(
        "--competition", metavar="NAME", required=True, help="last part of the competition's address on Kaggle"
    )
    parser.add_argument(
        "--predict-only",
        action="store_true",
        help="predict with the models of an earlier kernel, without training",
    )
    parser.add_argument(
        "--input", type=Path, metavar="DIR", default=KAGGLE_INPUT, help=f"mounted inputs; default {KAGGLE_INPUT}"
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", default=KAGGLE_WORKING, help=f"outputs; default {KAGGLE_WORKING}"
    )
    return parser.parse_known_args(arguments)
