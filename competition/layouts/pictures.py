"""Where the images of ids are: files, folders of files, or containers, which are turned into files."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from competition.containers import Container, extract, names_container, read_container
from competition.images_on_disk import ImagesOnDisk, best_size
from competition.layouts.evidence import Evidence

PROBED = 100  # ids to look up when finding out whether a column names images
ENOUGH = 0.5  # the share of ids with an image that shows that a column names images
MOST_STACKS = 20  # of images, in a root
_SIZE = re.compile(r"(\d{2,4})x\1")
_EXAMPLE = re.compile(r"example|sample")  # in the names of files that hold some of the images of others
_NUMBERED = re.compile(r"(?P<id>.+)[-_]\d+")
_SPLITS = ("test", "val", "train")


@dataclass(frozen=True)
class Located:
    """The images of some ids.

    rows: for each image the number of its id, int64. cases: the id of each image, None if each has one.
    """

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    rows: np.ndarray
    cases: tuple[str, ...] | None = None


class Pictures:
    """The images of a competition by their ids. derived: the folder for those that are taken out of containers."""

    def __init__(self, evidence: Evidence, derived: Path) -> None:
        self.evidence = evidence
        self.derived = derived

    @property
    def images(self) -> ImagesOnDisk:
        return self.evidence.images

    @property
    def are_there(self) -> bool:
        """Whether there are any images, as files or in containers."""
        return any(map(self.images.files, (*_SPLITS, None))) or any(self.containers.values())

    def has_files(self, split: str, ids: Sequence[str]) -> bool:
        """Whether most of some ids, at most a hundred or so, have a file, or a folder of files."""
        if not ids:
            return False
        if self.images.has_all(split, ids) or self.images.has_folders(split, ids):
            return True
        return sum(self.images.has_all(split, [image_id]) for image_id in ids) >= ENOUGH * len(ids)

    def has_numbered(self, split: str, ids: Sequence[str]) -> bool:
        """Whether most of some ids have files that are called by them and a number: ``a7-1.jpg``, ``a7-2.jpg``."""
        known = self._numbered[split]
        return bool(ids) and sum(image_id in known for image_id in ids) >= ENOUGH * len(ids)

    def are_contained(self, split: str, ids: Sequence[str]) -> bool:
        """Whether most of some ids are in the containers of a split, by names of their own."""
        known = self.contained_ids(split)
        return bool(known) and sum(image_id in known for image_id in ids) >= ENOUGH * len(ids)

    def has(self, split: str, ids: Sequence[str]) -> bool:
        """Whether most of some ids have a file, a folder of files, or an image in a container."""
        return self.has_files(split, ids) or self.are_contained(split, ids)

    def are_spelled_so(self, split: str, ids: Sequence[str]) -> bool:
        """Whether the ids are spelled as the names of their files, with or without a suffix."""
        there = [image_id for image_id in ids if self.images.has_all(split, [image_id])]
        paths = self.images.paths(Path(), split, there)
        names = (
            (path.name, path.stem, image_id.strip().rpartition("/")[2])
            for image_id, path in zip(there, paths, strict=True)
        )
        return bool(there) and all(last in (name, stem) for name, stem, last in names)

    def located(self, split: str, table: Path, ids: tuple[str, ...]) -> Located:
        """The images of some ids of a table. Raises UserError for ids that have none."""
        probe = ids[:PROBED]
        if self.images.has_all(split, probe):
            return Located(ids, self.images.paths(table, split, ids), np.arange(len(ids)))
        if self.images.has_folders(split, probe):
            return _in_folders(ids, self.images.several(table, split, ids))
        if not self.has_files(split, probe) and self.are_contained(split, probe):
            return self._taken_out(split, ids)
        if not self.has_files(split, probe) and self.has_numbered(split, probe):
            return self._with_numbers(split, table, ids)
        return Located(ids, self.images.paths(table, split, ids), np.arange(len(ids)))

    @cached_property
    def _numbered(self) -> dict[str, dict[str, list[Path]]]:
        """The files of each split by their names without the number at the end."""
        found: dict[str, dict[str, list[Path]]] = {split: defaultdict(list) for split in _SPLITS}
        for split, named in found.items():
            for path, _ in self.images.files(split):
                if (match := _NUMBERED.fullmatch(path.stem)) is not None:
                    named[match["id"]].append(path)
        return found

    def _with_numbers(self, split: str, table: Path, ids: tuple[str, ...]) -> Located:
        if missing := [image_id for image_id in ids if image_id not in self._numbered[split]]:
            self.images.paths(table, split, missing)  # raises the error that names them
        return _in_folders(ids, [self._numbered[split][image_id] for image_id in ids])

    # --- containers

    @cached_property
    def containers(self) -> dict[str, tuple[Container, ...]]:
        """The containers of each split, told by the names of their files and folders; else those of no split."""
        by_word: dict[str, list[Container]] = {word: [] for word in (*_SPLITS, "")}
        for path in self._container_paths():
            if (container := read_container(path)) is not None:
                where = self._place(path).lower().replace("t10k", "test")  # as MNIST calls it
                by_word[next((word for word in _SPLITS if word in where), "")].append(container)
        return {word: tuple(by_word[word] or (by_word[""] if word != "val" else ())) for word in _SPLITS}

    def contained_ids(self, split: str) -> set[str]:
        """The ids of the images in the containers of a split that have ids."""
        return {each for box in self.containers[split] if box.id_name is not None for each in box.columns["id"]}

    def extracted(self, split: str) -> pd.DataFrame:
        """The columns of the containers of a split, with the file of each image in the column ``file``."""
        scaled_by = self.containers["train"] if split != "train" else ()
        return extract(self.containers[split], self.derived / split, scaled_by)

    def _container_paths(self) -> list[Path]:
        """The files that may be containers; of several sizes of images only those of one."""
        paths = [path for path in self.evidence.files if names_container(path.name)]
        paths = [path for path in paths if not _EXAMPLE.search(path.stem.lower())]
        paths += (*self._stacks(), *self._folders_of_channels())
        sizes = {path: int(found[1]) for path in paths if (found := _SIZE.search(self._place(path)))}
        kept = best_size(sizes.values())
        return [path for path in paths if sizes.get(path, kept) == kept]

    def _stacks(self) -> Iterator[Path]:
        """The arrays that lie in the roots, which may be stacks; elsewhere an array is an image."""
        for root in self.evidence.roots:
            yield from sorted(root.glob("*.npy"))[:MOST_STACKS]

    def _folders_of_channels(self) -> Iterator[Path]:
        for root in self.evidence.roots:
            yield from (path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith("."))

    def _place(self, path: Path) -> str:
        root = next(root for root in self.evidence.roots if path.is_relative_to(root))
        return path.relative_to(root).as_posix()

    def _taken_out(self, split: str, ids: tuple[str, ...]) -> Located:
        files = self.extracted(split)
        rows = pd.Series(np.arange(len(ids)), index=list(ids))
        files = files[files["id"].isin(rows.index)]
        numbers = rows[files["id"]].to_numpy()
        order = np.argsort(numbers, kind="stable")
        paths = tuple(map(Path, files["file"].to_numpy()[order]))
        cases = tuple(ids[row] for row in numbers[order])
        if len(paths) == len(ids):
            return Located(ids, paths, np.arange(len(ids)))
        return Located(tuple(path.name for path in paths), paths, numbers[order], cases)


def _in_folders(ids: tuple[str, ...], several: Sequence[Sequence[Path]]) -> Located:
    """An image for each of several files of an id, called by the id and its place among them."""
    rows = np.repeat(np.arange(len(ids)), [len(paths) for paths in several])
    names = tuple(
        f"{image_id}/{place}" for image_id, paths in zip(ids, several, strict=True) for place in range(len(paths))
    )
    return Located(names, tuple(path for paths in several for path in paths), rows, tuple(ids[row] for row in rows))
