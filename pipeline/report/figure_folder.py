"""Save the figures of a report as PNG files and embed them in the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from competition.storage import atomic_write
from pipeline.report.figures import DOTS_AN_INCH

QUALITY = 70  # of photographs, as WebP
MOST_PIXELS = 16_383  # a side, of a WebP


@dataclass(frozen=True)
class EmbeddedImage:
    """A figure for the page. uri: ``data:...``; width, height: in pixels; alt: the alternative text."""

    uri: str
    width: int
    height: int
    alt: str


class FigureFolder:
    """Writes figures into ``folder``; ``close`` removes those of earlier reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()

    def add(self, name: str, figure: Figure, alt: str, photographs: bool = False) -> EmbeddedImage:
        """Write ``<name>.png`` and return the image for the page.

        photographs: embed the figure as lossy WebP instead of in 256 colours.
        """
        buffer = io.BytesIO()
        effort = 1 if photographs else 6  # photographs hardly compress
        figure.savefig(buffer, format="png", dpi=DOTS_AN_INCH, pil_kwargs={"compress_level": effort})
        png = buffer.getvalue()
        with atomic_write(self.folder / f"{name}.png") as path:
            path.write_bytes(png)
        self._names.add(f"{name}.png")
        with Image.open(io.BytesIO(png)) as image:
            embedded = embedded_webp(image) if photographs else _of_few_colours(image)
            return EmbeddedImage(embedded, *image.size, alt)

    def close(self) -> None:
        """Remove figures left over from an earlier report."""
        for path in self.folder.glob("*.png"):
            if path.name not in self._names:
                path.unlink()


def _of_few_colours(image: Image.Image) -> str:
    """The image as a data URI of a lossless WebP of at most 256 colours, which takes a quarter of the space."""
    few = _reduced(image).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return _data_uri(few.convert("RGB"), lossless=True, quality=50, method=4)


def embedded_webp(image: Image.Image, quality: int = QUALITY) -> str:
    """The image as a data URI, lossy, made smaller if the format does not allow its size. quality: 0 to 100."""
    return _data_uri(_reduced(image), quality=quality, method=2)


def _reduced(image: Image.Image) -> Image.Image:
    """The image in colours, no larger than a WebP can be."""
    shown = image.convert("RGB")
    shown.thumbnail((MOST_PIXELS, MOST_PIXELS))
    return shown


def _data_uri(image: Image.Image, **options: int) -> str:
    """The image as a WebP that is written with these options of Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, format="webp", **options)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
