"""TOML files that are read into pydantic models: a typo is an error that names the nearest key or value."""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from competition.wording import did_you_mean, fault_in, printable

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


class CheckedModel(BaseModel):
    """A TOML table in which an unknown key is an error, so that a typo cannot pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_checked_toml(path: Path, model: type[Model]) -> Model:
    """Read a TOML file into a model. Raises UserError that names the file and the key that is wrong."""
    return check_table(path, model, read_toml(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file as it is. Raises UserError if it is missing, not UTF-8 or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise fault_in(path, "no such file", "give the path of a recipe's TOML file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise fault_in(path, f"cannot be read as TOML ({printable(error)})", "fix the file") from None


def check_table(path: Path, model: type[Model], table: dict[str, Any]) -> Model:
    """Check the content of a file against a model. Raises UserError that names the file and the wrong key."""
    try:
        return model(**table)
    except ValidationError as error:
        raise fault_in(path, describe_fault(error, model, table), "fix that key") from None


def describe_fault(error: ValidationError, model: type[BaseModel], table: dict[str, Any]) -> str:
    """The first wrong key and what is wrong with it, e.g. ``optimiser.lrr: no such key (did you mean 'lr'?)``.

    Unknown keys come before all else: a misspelt key is often also the one that is missing.
    """
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in _keys(table, first["loc"]))
    words = _explanation(first, model)
    return f"{printable(where)}: {words}" if where else words


def _keys(value: object, location: Location) -> Location:
    """The part of a pydantic location that the file spells; what follows names a branch of a union."""
    keys: list[int | str] = []
    for part in location:
        if not isinstance(value, dict | list | tuple):
            break
        keys.append(part)
        value = value.get(part) if isinstance(value, dict) else value[int(part)]
    return tuple(keys)


def _explanation(fault: ErrorDetails, model: type[BaseModel]) -> str:
    if fault["type"] == "extra_forbidden":
        *tables, key = fault["loc"]
        return f"no such key{did_you_mean(str(key), _model_at(model, tuple(tables)).model_fields)}"
    hint = ""
    if fault["type"] == "literal_error":
        choices = re.findall("'([^']*)'", fault["ctx"]["expected"])
        hint = did_you_mean(str(fault["input"]), choices)
    return fault["msg"].removeprefix("Value error, ") + hint


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """The model of the table at a location, e.g. of ``("stages", 0, "optimiser")``."""
    for part in location:
        if isinstance(part, str):
            model = _models_in(model.model_fields[part].annotation)[0]
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation mentions, e.g. ``Stage`` in ``tuple[Stage, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
