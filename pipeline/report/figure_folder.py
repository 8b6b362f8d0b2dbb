"""The figures of one report: each a PNG file, and what the page embeds of it."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from competition.storage import atomic_write
from pipeline.report.figures import DOTS_AN_INCH


@dataclass(frozen=True)
class EmbeddedImage:
    """An embedded figure. uri: ``data:...``; width, height: in pixels; alt: what it shows, in words."""

    uri: str
    width: int
    height: int
    alt: str


class FigureFolder:
    """Writes figures into ``folder``, which at the end holds those of this report alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()

    def add(self, name: str, figure: Figure, alt: str, photographs: bool = False) -> EmbeddedImage:
        """Write ``<name>.png``. Photographs are embedded as lossy WebP, which takes a fifth of the space."""
        buffer = io.BytesIO()
        effort = 1 if photographs else 6  # zlib finds little in photographs
        figure.savefig(buffer, format="png", dpi=DOTS_AN_INCH, pil_kwargs={"compress_level": effort})
        png = buffer.getvalue()
        with atomic_write(self.folder / f"{name}.png") as path:
            path.write_bytes(png)
        self._names.add(f"{name}.png")
        with Image.open(io.BytesIO(png)) as image:
            embedded = _data_uri("webp", _webp(image)) if photographs else _data_uri("png", png)
            return EmbeddedImage(embedded, *image.size, alt)

    def close(self) -> None:
        """Remove the figures that an earlier report left behind."""
        for path in self.folder.glob("*.png"):
            if path.name not in self._names:
                path.unlink()


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="webp", quality=80, method=2)
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
