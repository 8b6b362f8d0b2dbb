"""The command lines of bundle.py, which packs a notebook for Kaggle, and of kernel.py, which runs in it."""

import argparse
import re
from pathlib import Path, PurePosixPath

from competition.storage import KAGGLE_INPUT, KAGGLE_WORKING, expanded
from pipeline.command_lines import predict_settings, train_settings
from pipeline.parser import Parser
from pipeline.settings import work_folder

KERNEL_BUDGET = "8h"  # the rest of a notebook session is for predicting
SESSION = 12 * 3600.0  # seconds after which Kaggle ends a notebook
LOCAL_OPTIONS = ("--data", "--work", "--plan")  # they name files of this machine, which a notebook cannot see
MODEL_PARTS = 5  # of a model's address on Kaggle
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
