"""Packages that only some contests need: imported where they are used, named where they are missing."""

import importlib
from pathlib import Path
from types import ModuleType

from competition.wording import fault_in


def optional_package(name: str, path: Path, need: str) -> ModuleType:
    """Import a package. Raises UserError that names the file, why it needs it, and the command to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise fault_in(path, f"{need}, which the package {package} reads", f"run: pip install {package}") from error
