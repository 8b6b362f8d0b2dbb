"""The command lines of train.py, tune.py, predict.py, compare.py, audit.py and submit.py, parsed into settings."""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

from pipeline.parser import Parser, existing, seconds, whole_number
from pipeline.settings import (
    DEFAULT_BUDGET,
    MOST_EPOCHS,
    MOST_FOLDS,
    MOST_TRIALS,
    TRIALS,
    TUNING_BUDGET,
    Settings,
    work_folder,
)

SET_BY_PLAN = ("models", "limit", "folds", "size", "seed")  # options of train.py


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
