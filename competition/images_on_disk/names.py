"""Names of images and ids: what of them counts, and what may differ."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import suppress

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".dcm", ".dicom", ".npy"),
)

LARGE = 192  # pixels that are enough to tell what is on a photograph

_ENDINGS = frozenset(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES)
MAY_LEAVE = re.compile(r"\.\.|^[/\\]|^[A-Za-z]:", re.MULTILINE)  # in names that may lead out of a folder, one a line
_CLIMBS = re.compile(r"(^|[/\\])\.\.([/\\]|$)")
_WRITTEN_IN = ("utf-8", "cp437", "cp1252")  # how an unpacking tool may have read the bytes of a name ...
_READ_AS = ("utf-8", "gb18030", "cp932", "cp437", "cp1252", "cp866", "cp1251")  # ... that were meant so


def leaves_folder(name: str) -> bool:
    """Whether a name could point outside the folder: an absolute path, a drive letter or ``..``."""
    has_drive = name[1:2] == ":" and name[0].isalpha() and name[0].isascii()
    return has_drive or name.startswith(("/", "\\")) or climbs(name)


def climbs(name: str) -> bool:
    """Whether a name has ``..`` among its folders."""
    return ".." in name and _CLIMBS.search(name) is not None


def names_image(name: str) -> bool:
    """Whether a name ends in the suffix of an image, in upper or lower case."""
    _, dot, ending = name.rpartition(".")
    return dot != "" and ending.lower() in _ENDINGS


def key_of(name: str) -> str:
    """What names have in common that mean the same: upper and lower case, letters composed or with loose accents."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def stem_of(name: str) -> str:
    """The name without the suffix of an image; other dots belong to the name."""
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending.lower() in _ENDINGS else name


def parts_of(image_id: str) -> list[str]:
    """The folders and the name in an id; Windows separates them by backslashes."""
    name = image_id.strip()
    if "/" not in name and "\\" not in name:
        return [name]
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")] or [name]


def in_natural_order(path: str) -> list[tuple[int, str]]:
    """A sorting key: ``Image-2`` before ``Image-10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path)]


def best_size(sizes: Collection[int]) -> int:
    """Of the sizes in pixels that the same images are there in: the smallest large one, else the largest."""
    return min((size for size in sizes if size >= LARGE), default=max(sizes, default=0))


def readings(name: str) -> Iterator[str]:
    """What a name may have been before an unpacking tool took its bytes for another alphabet."""
    for written in _WRITTEN_IN:
        for read in _READ_AS:
            with suppress(UnicodeError):
                yield name.encode(written).decode(read)
