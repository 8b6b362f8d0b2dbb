"""The commands: each checks its options before it imports slow modules such as PyTorch.

A script in this folder and the console script of the same name call the same function here.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TypeVar

from competition.errors import UserError
from pipeline.runtime.faults import explained
from pipeline.runtime.output import make_output_robust
from pipeline.runtime.signals import stoppable
from pipeline.settings import (
    bundle_options,
    kernel_options,
    predict_settings,
    submit_options,
    train_settings,
    tune_settings,
)

Given = TypeVar("Given")


def run_main(main: Callable[[list[str]], object], arguments: list[str] | None = None) -> NoReturn:
    """Call ``main`` with the arguments (default: those of the command line), then exit the process.

    Exit status: 0 on success; 2 after an error, which prints one line ``error: ...``, or its traceback with --debug;
    130, 143 and 129 after Ctrl-C, SIGTERM and SIGHUP.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    make_output_robust()
    try:
        with stoppable():
            main(arguments)
            print(end="", flush=True)
    except KeyboardInterrupt as stop:
        number = signal.Signals(*stop.args or (signal.SIGINT,))
        kept = "finished work is kept; run the same command to continue"
        print(f"\ninterrupted ({number.name}): {kept}", file=sys.stderr)
        sys.exit(128 + number)
    except Exception as error:
        if "--debug" in arguments:
            raise
        print(f"error: {explained(error)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def command(module: str, parse: Callable[[list[str]], object]) -> Callable[..., NoReturn]:
    """A function that parses the command line with ``parse`` and calls the module's ``main``; see ``run_main``."""

    def main(arguments: list[str]) -> None:
        given = parsed(parse, arguments)
        import_module(module).main(given)

    return partial(run_main, main)


def parsed(parse: Callable[[list[str]], Given], arguments: list[str]) -> Given:
    """The parsed arguments. If torchrun started several processes, only the first one prints help and errors."""
    if os.environ.get("RANK", "0") == "0":
        return parse(arguments)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        try:
            return parse(arguments)
        except UserError:
            sys.exit(2)


train = command("pipeline.train", train_settings)
predict = command("pipeline.predict", predict_settings)
tune = command("pipeline.tune", tune_settings)
submit = command("pipeline.submit", submit_options)
bundle = command("pipeline.bundle", bundle_options)
kernel = command("pipeline.kernel", kernel_options)
