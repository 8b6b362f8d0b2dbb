"""Finds a competition's files: a folder, a ZIP, a notebook's input, Kaggle, a public data set, the rehearsal."""

import os
import re
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from competition import kaggle_client
from competition.archives import is_archive, opened, unpacked
from competition.datasets import DATASETS, write_dataset
from competition.errors import UserError
from competition.kaggle_client import KaggleError
from competition.layouts import competition_folder, holds_competition, load_competition
from competition.metrics import find_metric
from competition.spec import Competition
from competition.storage import KAGGLE_INPUT, build_folder, expanded
from competition.wording import did_you_mean, fault_in, listed, printable

REHEARSAL = "rehearsal"
_NAME = re.compile(r"(?!answers$)[A-Za-z0-9][\w .()-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)  # what can be the last part of an address on Kaggle
_PAGE = re.compile(r"kaggle\.com/(?:competitions|c)/([\w-]+)")  # the address of a competition
_WEB_PAGES = (b"<!doctype", b"<html")
# where Kaggle mounts a notebook's inputs, besides <slug>/ as in older images: a folder for each kind, and what it holds
_MOUNTS = {"competitions": "*", "datasets": "*/*", "notebooks": "*/*"}


def open_competition(
    competition: str | None,
    data: Path | None,
    data_folder: Path,
    image_column: str | None = None,
    label_column: str | None = None,
    metric: str | None = None,
    train_table: str | None = None,
    group_column: str | None = None,
    kaggle_input: Path = KAGGLE_INPUT,
) -> Competition:
    """Find a competition's files (unpack, download or draw them if necessary) and read them.

    competition: a name, a folder or a ZIP. None means in a notebook the only competition among its inputs, elsewhere
        the rehearsal.
    data: a folder or ZIP to read under that name.
    data_folder: holds ``<name>/`` with what was unpacked, downloaded or drawn, ``answers/<name>.csv`` with the test
        labels if they are known, and what archives and containers in the competition's folder hold.
    image_column, label_column, metric, train_table, group_column: see ``load_competition``.

    Raises UserError if there is no competition or metric of that name, or if the files are wrong.
    """
    chosen = None if metric is None else find_metric(metric)  # before anything is fetched
    name, folder = _locate(competition, data, data_folder, kaggle_input)
    folder = competition_folder(folder)
    roots = opened(folder, data_folder / ".unpacked" / name)
    derived = data_folder / ".images" / name
    return load_competition(roots, name, image_column, label_column, chosen, train_table, group_column, derived)


def name_of(competition: str | None, data: Path | None, kaggle_input: Path = KAGGLE_INPUT) -> str | None:
    """The name that ``open_competition`` would give the competition, without fetching anything.

    None if its files are missing, so that ``open_competition`` would fail.
    """
    path = data
    if path is None and competition is not None and _is_path(competition, given := expanded(competition)):
        path, competition = given, None
    if path is None:
        only = _only_input(kaggle_input) if competition is None and _is_notebook(kaggle_input) else None
        return competition or (only[0] if only else REHEARSAL)
    if not path.exists():
        return None
    return competition or (path.resolve().name if path.is_dir() else path.stem)


def lasting_name(competition: str | None) -> str | None:
    """The same competition, named such that it is found from any folder."""
    if competition is None or not _is_path(competition, path := expanded(competition)):
        return competition
    return str(path.resolve())


def _locate(competition: str | None, data: Path | None, data_folder: Path, kaggle_input: Path) -> tuple[str, Path]:
    if data is not None:
        return _from_path(data, data_folder, competition)
    if competition is None:
        if _is_notebook(kaggle_input):
            return _only_input(kaggle_input)
        return _by_name(REHEARSAL, data_folder, kaggle_input)
    path = expanded(competition)
    if _is_path(competition, path):
        return _from_path(path, data_folder)
    return _by_name(competition, data_folder, kaggle_input)


def _is_path(text: str, path: Path) -> bool:
    """Whether the text is spelled like a path, or names a competition's folder in the working directory."""
    return path.name != text or path.suffix.lower() == ".zip" or is_archive(path) or holds_competition(path)


def _from_path(path: Path, data_folder: Path, name: str | None = None) -> tuple[str, Path]:
    if path.is_dir():
        return _checked(name) if name else path.resolve().name, path
    if not path.exists():
        raise _not_there(path)
    if not is_archive(path):
        raise fault_in(path, *_no_archive(path))
    name = _checked(name or path.stem)
    return name, unpacked(path, data_folder / name, lambda draft: competition_folder(draft, path))


def _not_there(path: Path) -> UserError:
    """The error to raise about a path that leads nowhere, which may be an address on Kaggle."""
    if address := _PAGE.search(path.as_posix()):
        return UserError(f"{printable(path, most=200)}: an address; give its name alone: --competition {address[1]}")
    hint = did_you_mean(path.name, _entries(path.parent))
    return fault_in(path, f"no such file or folder{hint}", "give a competition's folder or ZIP")


def _no_archive(path: Path) -> tuple[str, str]:
    """What is wrong with a file that is given in place of a competition's folder or ZIP, and what to do."""
    with path.open("rb") as file:
        begin = file.read(len(_WEB_PAGES[0])).lower()
    if not begin:
        return "the file is empty", "download it again"
    if begin.startswith(_WEB_PAGES):
        return "a web page, not a ZIP", "log in to Kaggle, accept the competition's rules and download it again"
    if holds_competition(path.parent):
        return "neither a folder nor a ZIP", f"give the folder in which it lies: {printable(path.parent, most=200)}"
    return "neither a folder nor a ZIP", "give the ZIP from the competition's page, or its unpacked folder"


def _by_name(name: str, data_folder: Path, kaggle_input: Path) -> tuple[str, Path]:
    kept, answers = data_folder / _checked(name), data_folder / "answers" / f"{name}.csv"
    inputs = _inputs(kaggle_input)
    if kept.is_dir():
        return name, kept
    if name in inputs:
        return _input(name, inputs[name])
    if name in DATASETS:
        fetched = data_folder / ".fetched"
        return name, build_folder(kept, lambda folder: write_dataset(name, folder, answers, fetched))
    if name == REHEARSAL:
        from competition.rehearsal import draw_rehearsal

        return name, build_folder(kept, lambda folder: draw_rehearsal(folder, answers))
    if Path(name).is_dir():
        return name, Path(name)
    kept_before = [folder.name for folder in subfolders(data_folder) if holds_competition(folder)]
    places = [*kept_before, *inputs, *DATASETS, REHEARSAL]
    remedy = _attach(inputs) if _is_notebook(kaggle_input) else ""
    archive = _downloaded(name, data_folder, places, remedy)
    return name, unpacked(archive, kept, lambda draft: competition_folder(draft, archive))


def _downloaded(name: str, data_folder: Path, places: list[str], remedy: str) -> Path:
    """The ZIP that Kaggle offers under that name, downloaded unless it is already there.

    remedy: what to do if it cannot be downloaded; empty for what the error itself says.
    """
    archive = data_folder / f"{name}.zip"
    if zipfile.is_zipfile(archive):
        return archive
    if not _ADDRESS.fullmatch(name):
        raise _unknown(name, "neither", places)
    try:
        return kaggle_client.download(name, data_folder)
    except KaggleError as error:
        if error.kind == 404:
            raise _unknown(name, f"neither on Kaggle ({error.kind}) nor", places) from error
        if error.kind in ("credentials", "connection", "missing"):
            fault = f"no competition '{name}' here{did_you_mean(name, places)}"
            raise UserError(f"{fault}; {remedy or f'to download it: {error}'}") from error
        raise


def _checked(name: str) -> str:
    """The name itself. Raises UserError if a competition's folder cannot have that name."""
    if not _NAME.fullmatch(name):
        fault = f"'{printable(name)}' cannot name a competition"
        if "\\" in name:
            raise UserError(f"{fault}, and is no path here; write a path with / in place of \\")
        raise UserError(f"{fault}; begin with a letter or digit, then '-', '_' and '.' may follow; 'answers' is taken")
    return name


def _unknown(name: str, where: str, places: list[str]) -> UserError:
    known = sorted({place for place in places if _NAME.fullmatch(place)})
    fault = f"no competition '{name}'{did_you_mean(name, known)}, {where} a folder here nor one of"
    return UserError(f"{fault} {', '.join(known)}; give its folder or ZIP with --data")


def _entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _is_notebook(kaggle_input: Path) -> bool:
    return kaggle_input.is_dir() or "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def _attach(inputs: dict[str, list[Path]]) -> str:
    """What to do in a notebook that lacks a competition."""
    there = f" (attached are {listed(inputs)})" if inputs else ""
    return f"attach it to the notebook as an input{there}, or give its folder with --data"


def _inputs(kaggle_input: Path) -> dict[str, list[Path]]:
    """The inputs of a notebook that hold a competition, by slug; files lie in the slug's folder or one level below."""
    mounted = [folder for kind, pattern in _MOUNTS.items() for folder in sorted((kaggle_input / kind).glob(pattern))]
    found: dict[str, list[Path]] = {}
    for folder in (*mounted, *(each for each in subfolders(kaggle_input) if each.name not in _MOUNTS)):
        if place := next(filter(holds_competition, chain((folder,), subfolders(folder))), None):
            found.setdefault(folder.name, []).append(place)
    return found


def _input(name: str, places: list[Path]) -> tuple[str, Path]:
    """The input of that name: the competition itself before a dataset or another notebook's output.

    Raises UserError if several of the others have the name.
    """
    if len(places) > 1 and "competitions" not in places[0].parts:
        raise UserError(f"{len(places)} inputs are called '{name}': {listed(places)}; give the right one with --data")
    return name, places[0]


def subfolders(folder: Path) -> Iterator[Path]:
    """The folders in a folder, sorted. Files are never touched, since an input may hold a million images."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from sorted(Path(entry.path) for entry in entries if entry.is_dir())


def _only_input(kaggle_input: Path) -> tuple[str, Path]:
    inputs = _inputs(kaggle_input)
    if len(inputs) > 1:
        raise UserError(f"{len(inputs)} inputs hold a competition: {listed(inputs)}; name one with --competition")
    if not inputs:
        fault = f"{kaggle_input}: no input of this notebook holds a competition, such as train.csv and test.csv"
        raise UserError(f"{fault}; attach one to the notebook, or name another with --competition")
    return _input(*next(iter(inputs.items())))
