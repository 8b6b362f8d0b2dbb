"""The commands: each checks its options before it imports slow modules such as PyTorch.

A script in this folder and the console script of the same name call the same function here.
"""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout, suppress
from contextvars import ContextVar
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from competition.console import quiet
from competition.errors import UserError
from competition.storage import ROOT
from competition.wording import printable
from pipeline.command_lines import (
    audit_settings,
    compare_settings,
    predict_settings,
    submit_options,
    train_settings,
    tune_settings,
)
from pipeline.kernel_lines import bundle_options, kernel_options
from pipeline.parser import READING
from pipeline.runtime.faults import explained
from pipeline.runtime.output import fault_of_output, make_output_robust
from pipeline.runtime.signals import stoppable
from pipeline.settings import Settings, work_folder

# OpenMP threads spin while they wait for one another. Beside other processes, each wait then takes until the scheduler
# runs all of them at once, and a training step takes ten times as long. Libraries read this when they are imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Operations that Apple's GPUs lack are computed on the CPU. PyTorch reads this when it is imported.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

Given = TypeVar("Given")

REPEATED = ("competition", "data", *READING)  # options that the next command needs as well
is_called = ContextVar("is_called", default=False)  # whether a function of ``notebook`` runs the command


def run_main(main: Callable[[list[str]], object], arguments: list[str] | None = None) -> NoReturn:
    """Call ``main`` with the arguments (default: those of the command line), then exit the process.

    main: may return the path of the submission that it has written.
    Exit status: 0 on success; 2 after an error, which prints one line ``error: ...``, or its traceback with --debug;
    130, 143 and 129 after Ctrl-C, SIGTERM and SIGHUP.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    make_output_robust()
    try:
        with stoppable():
            end_with(main(arguments))
    except KeyboardInterrupt as stop:
        number = signal.Signals(*stop.args or (signal.SIGINT,))
        again = "run it again without --fresh" if "--fresh" in arguments else "run the same command"
        kept = f"finished work is kept; {again} to continue"
        print(f"\ninterrupted ({number.name}): {kept}", file=sys.stderr)
        sys.exit(128 + number)
    except Exception as error:
        if "--debug" in arguments:
            raise
        print(f"error: {explained(error)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def end_with(result: object) -> None:
    """Flush the output. Raises UserError if it could not be printed.

    result: what ``main`` returned; a path is that of the file to be handed in.
    """
    print(end="", flush=True)
    if fault := fault_of_output():
        where = f"; the submission is at {printable(result, most=200)}" if isinstance(result, Path) else ""
        raise UserError(f"all work is done, but its output could not be printed ({fault}){where}")


def end_at_once(main: Callable[[], NoReturn]) -> NoReturn:
    """Call ``main`` and end the process with its status.

    The interpreter's own end takes seconds after PyTorch is imported, on a busy machine many, and a time budget has
    none left for it.
    """
    try:
        main()
    except SystemExit as leaving:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(leaving.code if isinstance(leaving.code, int) else 1)


def command(module: str, parse: Callable[[list[str]], object], on_all_gpus: bool = False) -> Callable[..., NoReturn]:
    """A function that parses the command line with ``parse`` and calls the module's ``main``; see ``run_main``.

    Without arguments it is the entry of a process: it takes the process's own, and ends the process.
    on_all_gpus: run the command in a process for each GPU.
    """

    def main(arguments: list[str]) -> object:
        given = parsed(parse, arguments)
        with quiet() if getattr(given, "quiet", False) else nullcontext():
            command_main = import_module(module).main
            with gpus_of(module, arguments, given) if on_all_gpus else nullcontext():
                return command_main(given)

    def entry(arguments: list[str] | None = None) -> NoReturn:
        if arguments is None:
            end_at_once(partial(run_main, main))
        run_main(main, arguments)

    return entry


def gpus_of(module: str, arguments: list[str], given: Any) -> AbstractContextManager[None]:
    """A block in which a command runs in a process for each GPU."""
    from pipeline.runtime.launcher import other_ranks  # here, because it imports torch, which is slow

    return other_ranks(Path(__file__).with_name(f"{module.rpartition('.')[2]}.py"), arguments, given.device)


def parsed(parse: Callable[[list[str]], Given], arguments: list[str]) -> Given:
    """The parsed arguments. Of several ranks, only the first one prints help and errors."""
    if os.environ.get("RANK", "0") == "0":
        return parse(arguments)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        try:
            return parse(arguments)
        except UserError:
            sys.exit(2)


def repeated(settings: Settings) -> list[str]:
    """The options of this command that the next command on the same competition needs as well."""
    return [word for name, value in _repeated(settings).items() for word in (f"--{name.replace('_', '-')}", value)]


def _repeated(settings: Settings) -> dict[str, str]:
    values = {name: getattr(settings, name) for name in REPEATED}
    values["work"] = settings.work if settings.work != work_folder(None) else None
    return {name: str(value) for name, value in values.items() if value is not None}


def typed(name: str, settings: Settings) -> str:
    """The command line of another command on the same competition, or its call, in the form in which this one began."""
    if is_called.get():
        return _call(name, _repeated(settings))
    return shlex.join([*_words_of(f"image-{name}", Path("pipeline", f"{name}.py")), *repeated(settings)])


def _call(name: str, options: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"


def retyped(settings: Settings) -> str:
    """The command line of train.py that gives these settings, without defaults, or the call, as the command began."""
    defaults = train_settings([])
    given = {each.name: getattr(settings, each.name) for each in fields(settings) if each.name != "begun"}
    changed = {name: value for name, value in given.items() if value != getattr(defaults, name)}
    if settings.epochs is not None or settings.plan is not None:
        changed.pop("budget", None)
    options = {name: _argument(name, value) for name, value in changed.items()}
    if is_called.get():
        return _call("train", {name: words if len(words) > 1 else (*words, True)[0] for name, words in options.items()})
    words = _words_of("image-train", Path("pipeline", "train.py"))
    for name, values in options.items():
        words += [f"--{name.replace('_', '-')}", *values]
    return shlex.join(words)


def _argument(name: str, value: object) -> list[str]:
    """The words after an option that give it this value."""
    if value is True:
        return []
    if name == "budget":
        return ["none" if value is None else f"{value:g}s"]
    if name == "cache_size":
        return [f"{cast(int, value) / 10**6:g}M"]
    return list(map(str, value)) if isinstance(value, tuple) else [str(value)]


def typed_rehearsal(rest: str) -> str:
    """The command line of the rehearsal with these arguments, in the form in which this command began."""
    script = Path("competition", "rehearsal.py")
    if is_called.get():
        return f"!python {ROOT / script} {rest}"
    return " ".join([*_words_of("image-rehearsal", script), rest])


def _words_of(console_script: str, script: Path) -> list[str]:
    """How to start another command. script: its path in the checkout."""
    this = Path(sys.argv[0])
    if this.stem.startswith("image-"):
        return [console_script]
    checkout = this.parent.parent if (this.parent.parent / script).is_file() else Path()
    return ["python", str(checkout / script)]


train = command("pipeline.train", train_settings, on_all_gpus=True)
predict = command("pipeline.predict", predict_settings)
compare = command("pipeline.compare", compare_settings)
tune = command("pipeline.tune", tune_settings)
audit = command("pipeline.audit", audit_settings)
submit = command("pipeline.submit", submit_options)
bundle = command("pipeline.bundle", bundle_options)
kernel = command("pipeline.kernel", kernel_options)
