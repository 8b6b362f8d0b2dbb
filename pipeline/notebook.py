"""The commands as functions, for notebooks. Their keywords are the options of the command line, with ``_`` for ``-``.

    from pipeline.notebook import predict, train

    train("my-contest", budget="10m")  # a table of the models and their scores
    predict("my-contest")  # shows the report; the submission as a table

``train?`` lists the options. An error is one line, and interrupting a cell keeps what is finished. A call leaves
nothing behind in the notebook but what it returns; its budget begins with the call.
"""

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import wraps
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from competition.console import quiet
from competition.errors import UserError
from competition.remembered import forget
from competition.sources import name_of
from competition.wording import did_you_mean
from pipeline.command_lines import (
    audit_parser,
    audit_settings,
    compare_parser,
    compare_settings,
    predict_parser,
    predict_settings,
    submit_options,
    submit_parser,
    train_parser,
    train_settings,
    tune_parser,
    tune_settings,
)
from pipeline.commands import is_called
from pipeline.findings.finding import INDEX
from pipeline.kernel_lines import bundle_options, bundle_parser
from pipeline.parser import Parser
from pipeline.report.files import PAGE
from pipeline.runtime.faults import explained
from pipeline.settings import Settings

Result = TypeVar("Result")
HEIGHT = 720  # of the report in its cell, in pixels


class CommandError(UserError):
    """A command has failed. Notebooks show the message alone."""

    def _render_traceback_(self) -> list[str]:
        return [f"error: {self}"]


class Interrupted(KeyboardInterrupt):
    """The cell was interrupted. Notebooks show the message alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def _command(*parsers: Callable[[], Parser]) -> Callable[[Callable[[list[str]], Result]], Callable[..., Result]]:
    """Turn a function of a command line into one whose keywords are the options of these parsers."""

    def of_words(function: Callable[[list[str]], Result]) -> Callable[..., Result]:
        options = {name: action for parser in parsers[::-1] for name, action in _options(parser()).items()}

        @wraps(function)
        def call(competition: object = None, *more: object, **given: object) -> Result:
            with _in_one_line(is_debugged=bool(given.get("debug"))):
                _refuse_unnamed(function.__name__, more)
                return function(_words(function.__name__, options, {"competition": competition, **given}))

        call.__doc__ = "\n".join([f"{function.__doc__}\n", *(f"{key}: {each.help}" for key, each in options.items())])
        call.__signature__ = _signature(function, options)  # type: ignore[attr-defined]
        return call

    return of_words


def _options(parser: Parser) -> dict[str, Any]:
    """The parser's options by their keywords."""
    options = (action for action in parser._actions if action.dest != "help")
    return {_keyword(action): action for action in options}


def _keyword(action: Any) -> str:
    return max(action.option_strings, default=action.dest, key=len).lstrip("-").replace("-", "_")


def _signature(function: Callable[..., Result], options: Mapping[str, Any]) -> inspect.Signature:
    kinds = {"competition": inspect.Parameter.POSITIONAL_OR_KEYWORD}
    parameters = [
        inspect.Parameter(name, kinds.get(name, inspect.Parameter.KEYWORD_ONLY), default=options[name].default)
        for name in sorted(options, key=lambda name: name not in kinds)
    ]
    return inspect.Signature(parameters, return_annotation=inspect.signature(function).return_annotation)


def _refuse_unnamed(command: str, values: Sequence[object]) -> None:
    if values:
        raise UserError(
            f"{command}() takes only the competition without a name, not {values[0]!r} as well; write KEYWORD="
            f"{values[0]!r}, for example data={values[0]!r}; {command}? lists the keywords"
        )


def _words(command: str, options: Mapping[str, Any], given: Mapping[str, object]) -> list[str]:
    """The command line with these options; those that are None or False are left out.

    Raises UserError if there is no such option.
    """
    words: list[str] = []
    for name, value in given.items():
        if name not in options:
            raise UserError(f"{command}() has no option {name}{did_you_mean(name, options)}; {command}? lists them all")
        words += _words_of(name, options[name], value)
    return words


def _words_of(name: str, action: Any, value: object) -> list[str]:
    if value is None or value is False:
        return []
    option = action.option_strings[-1:]
    if action.nargs == 0:
        if value is not True:
            raise UserError(f"{name}={value!r}: it is switched on with {name}=True")
        return option
    if action.nargs is None and option:
        return [f"{option[0]}={value}"]  # in one word, since the value may begin with a dash
    values = [value] if isinstance(value, str | os.PathLike) or not isinstance(value, Sequence) else value
    return [*option, *map(str, values)]


@contextmanager
def _in_one_line(is_debugged: bool) -> Iterator[None]:
    """Raise CommandError for an error in the block, with one line that says what to do, and Interrupted for Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted: finished work is kept; run the cell again to continue") from None
    except Exception as error:
        if is_debugged:
            raise
        raise CommandError(explained(error)) from None


def _carry_out(name: str, given: Any, words: list[str]) -> Any:
    """Run a command with its parsed options. Returns what it returns."""
    forget()
    if isinstance(given, Settings):
        given = replace(given, begun=time.monotonic())
    with quiet() if getattr(given, "quiet", False) else nullcontext(), _undisturbed():
        main = import_module(f"pipeline.{name}").main
        return _run_beside(name, words) if name == "train" and _has_several_gpus(given) else main(given)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave the notebook's environment, random numbers and memory as they are."""
    import torch  # here, because it is slow to import

    from pipeline.runtime.devices import give_back_memory

    environment, token = dict(os.environ), is_called.set(True)
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        give_back_memory()
        is_called.reset(token)
        for added in os.environ.keys() - environment.keys():
            del os.environ[added]


def _has_several_gpus(settings: Settings) -> bool:
    from pipeline.runtime.devices import usable_devices

    return usable_devices(settings.device) > 1


def _run_beside(name: str, words: list[str]) -> None:
    """Run a command in processes of its own, one for each GPU, and print what it prints.

    A process of several may end the others, which the notebook's must survive. Raises UserError if the command fails.
    """
    script = Path(__file__).with_name(f"{name}.py")
    with subprocess.Popen(
        [sys.executable, str(script), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            last = _printed(process)
        except KeyboardInterrupt:
            process.terminate()
            raise
    if process.returncode != 0:
        raise UserError(last.removeprefix("error: ") or f"{name} ended with status {process.returncode}")


def _printed(process: "subprocess.Popen[str]") -> str:
    """Print what a process prints but its error. Returns the last line."""
    line = ""
    for line in process.stdout or ():
        if not line.startswith("error: "):
            print(line, end="", flush=True)
    return line.strip()


@_command(train_parser)
def train(words: list[str]) -> pd.DataFrame:
    """Train models on a competition's images. Returns scores.csv: all trained models of the competition, best first."""
    settings = train_settings(words)
    _carry_out("train", settings, words)
    name = name_of(settings.competition, settings.data)
    return pd.read_csv(settings.runs_folder(str(name)) / "scores.csv", keep_default_na=False)


@_command(predict_parser)
def predict(words: list[str]) -> pd.DataFrame:
    """Blend the trained models, write a submission and show the report. Returns the submission, with ids as text."""
    submission = _carry_out("predict", predict_settings(words), words)
    if (report := submission.with_name(PAGE)).is_file():
        _show(report.read_text(encoding="utf-8"))
    columns = pd.read_csv(submission, nrows=0).columns
    return pd.read_csv(submission, dtype={columns[0]: str}, keep_default_na=False)


@_command(audit_parser)
def audit(words: list[str]) -> pd.DataFrame:
    """Look for what is wrong with the images and labels. Returns what was found; the rows are in runs/NAME/audit/."""
    folder = _carry_out("audit", audit_settings(words), words)
    return pd.read_csv(folder / INDEX, keep_default_na=False)


@_command(compare_parser)
def compare(words: list[str]) -> pd.DataFrame:
    """Compare the trained runs, and show the page. Returns the runs, best first, with p-values."""
    path = _carry_out("compare", compare_settings(words), words)
    _show(path.read_text(encoding="utf-8"))
    return pd.read_csv(path.with_suffix(".csv"), keep_default_na=False)


@_command(tune_parser)
def tune(words: list[str]) -> str:
    """Search for better settings of a recipe. Returns the name of the recipe written, for ``train(models=NAME)``."""
    return str(_carry_out("tune", tune_settings(words), words))


@_command(submit_parser)
def submit(words: list[str]) -> None:
    """Check a CSV, submit it to Kaggle, wait for its score and record it in submissions/ledger.csv."""
    _carry_out("submit", submit_options(words), words)


@_command(bundle_parser, train_parser, predict_parser)
def bundle(words: list[str]) -> None:
    """Pack the pipeline into one script for Kaggle. All other options are passed to train.py there."""
    _carry_out("bundle", bundle_options(words), words)


def _show(page: str) -> None:
    """Show a page in the cell, if this is a notebook."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        style = f"width: 100%; height: {HEIGHT}px; border: 0"
        frame = f'<iframe title="report" srcdoc="{escape(page)}" style="{style}"></iframe>'
        display({"text/html": frame, "text/plain": "the report"}, raw=True)
