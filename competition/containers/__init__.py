"""Files that hold many images: each is told by its content, and its images are written to files once.

``read_container`` says what a file holds, ``extract`` writes the images. A folder with one file for each channel of an
image (``ID_red.png``, ``ID_green.png``, ...) is such a container too.
"""

from competition.containers.container import Container, extract, read_container

__all__ = ["Container", "extract", "read_container"]
