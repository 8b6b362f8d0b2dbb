"""Sends files so that interrupted downloads can resume: Range, If-Range, ETag, Last-Modified."""

import re
import shutil
import zipfile
from collections.abc import Iterable
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from competition.progress import Progress
from competition.stand_in.wire import RefusedError
from competition.wording import printable

_COMPRESSED = {".csv", ".txt", ".json", ".md"}  # images are compressed already


def send_file(handler: BaseHTTPRequestHandler, path: Path, is_cut: bool = False) -> None:
    """Answer with the file, or with the part of it that the request's Range asks for.

    is_cut: close the connection after half of the bytes. Raises RefusedError if the range begins past the end.
    """
    status = path.stat()
    changed = formatdate(status.st_mtime, usegmt=True)
    tag = f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
    start, end = _asked_range(handler, status.st_size, (tag, changed))
    is_part = (start, end) != (0, status.st_size)
    handler.send_response(206 if is_part else 200)
    if is_part:
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{status.st_size}")
    handler.send_header("Content-Type", "application/zip" if path.suffix == ".zip" else "application/octet-stream")
    handler.send_header("Content-Length", str(end - start))
    handler.send_header("Last-Modified", changed)
    handler.send_header("ETag", tag)
    handler.send_header("Accept-Ranges", "bytes")
    handler.end_headers()
    with path.open("rb") as file:
        file.seek(start)
        left = (end - start) // 2 if is_cut else end - start
        while left and (chunk := file.read(min(left, 1 << 20))):
            handler.wfile.write(chunk)
            left -= len(chunk)
    handler.close_connection = handler.close_connection or is_cut


def _asked_range(handler: BaseHTTPRequestHandler, size: int, validators: tuple[str, str]) -> tuple[int, int]:
    """The first byte and one past the last: the whole file unless the request asks for a range of this version."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if not match or handler.headers.get("If-Range", validators[0]) not in validators:
        return 0, size
    start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    if start >= end:
        raise RefusedError(416, f"the range begins at byte {start}, and the file has {size}")
    return start, end


def archive_of(folder: Path, names: Iterable[str], place: Path) -> Path:
    """A ZIP of the named files of ``folder``, kept in ``place``; it is made again if one of them has changed.

    The archive is written beside its place and renamed. Its name is a hash of its members' names, sizes and times.
    """
    names = list(names)
    stats = [(folder / name).stat() for name in names]
    content = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, stats, strict=True)]
    archive = place / f"{sha256(repr((str(folder), content)).encode()).hexdigest()[:16]}.zip"
    if archive.exists():
        return archive
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    draft = archive.with_suffix(".draft")
    with zipfile.ZipFile(draft, "w", strict_timestamps=False) as opened:
        for name in Progress(names, desc=f"packing {printable(folder.name)}", unit="file"):
            method = zipfile.ZIP_DEFLATED if Path(name).suffix in _COMPRESSED else zipfile.ZIP_STORED
            opened.write(folder / name, name, method)
    return draft.rename(archive)
