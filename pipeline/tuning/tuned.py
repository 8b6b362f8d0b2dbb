"""The recipes that studies find: where they are written, and which of them may be replaced."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from pydantic import TypeAdapter, ValidationError

from competition.errors import UserError
from competition.locks import locked
from competition.wording import fault_in
from pipeline.models.recipe import NAME, RECIPES, AnyRecipe, write_recipe

REMARK = "written by pipeline/tune.py: "
LONGEST_NAME, LONGEST_SLUG = 100, 60  # characters


@dataclass(frozen=True)
class Provenance:
    """Where a tuned recipe comes from, as the first line of its file says.

    study: hash of everything that makes the trials comparable. trials: how many came to an end.
    rank: the best trial's score as the metric ranks it, higher is better.
    """

    competition: str
    study: str
    trials: int
    rank: float

    @classmethod
    def of(cls, path: Path) -> "Provenance | None":
        """That of a recipe's file; None if no study wrote it."""
        first = path.read_bytes().partition(b"\n")[0] if path.is_file() else b""
        try:
            return TypeAdapter(cls).validate_json(first.removeprefix(f"# {REMARK}".encode()))
        except ValidationError:
            return None

    def may_replace(self, other: "Provenance | None") -> bool:
        """Whether it is the same study's, with as many trials or more, and as good or better."""
        if other is None or (other.competition, other.study) != (self.competition, self.study):
            return False
        return other.trials <= self.trials and other.rank <= self.rank


@dataclass(frozen=True)
class TunedRecipes:
    """The recipes of one study in the folder ``recipes``. No other recipe there is ever replaced."""

    folder: Path
    competition: str
    study: str

    def default_name(self, recipe: str) -> str:
        """``sprint-tuned-birds`` for the recipe sprint and the competition birds."""
        slug = re.sub(r"[^\w.-]+", "-", self.competition)[:LONGEST_SLUG].strip("-.")
        return f"{recipe}-tuned-{slug}"

    def check_free(self, name: str) -> None:
        """Raises UserError if the file of that name is not this study's."""
        path = self._path(name)
        found = Provenance.of(path)
        if path.exists() and (found is None or found.study != self.study):
            raise UserError(f"--name {name}: {path} was not written by this study; give another name")

    def write(self, recipe: AnyRecipe, name: str, trials: int, rank: float) -> Path:
        """Write the study's best recipe. If another recipe has the name, a number is added to it. Returns the path."""
        provenance = Provenance(self.competition, self.study, trials, rank)
        remark = REMARK + TypeAdapter(Provenance).dump_json(provenance).decode()
        with locked(self.folder, "writes a recipe"):
            places = self._places(name)
            path = next(each for each in places if not each.exists() or provenance.may_replace(Provenance.of(each)))
            write_recipe(recipe.model_copy(update={"name": path.stem}), path, remark)
        return path

    def _places(self, name: str) -> Iterator[Path]:
        yield from (self._path(name if number == 1 else f"{name}-{number}") for number in count(1))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.toml"


def check_name(name: str) -> None:
    """Raises UserError if a recipe cannot have the name."""
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        rule = f"a recipe's name has up to {LONGEST_NAME} letters, digits, dots and dashes"
        raise UserError(f"--name {name}: {rule}; give another")
    if (RECIPES / f"{name}.toml").exists():
        raise UserError(f"--name {name}: a built-in recipe has this name; give another name")


def check_writable(folder: Path) -> None:
    """Raises UserError if no recipe can be written to the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fault = f"the recipe cannot be written there ({error.strerror})"
        raise fault_in(folder, fault, "make it writable or choose another folder with --work") from None
