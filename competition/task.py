"""Task: what is predicted for each image, and the meaning of a model's output columns."""

from dataclasses import dataclass

Label = int | str


@dataclass(frozen=True)
class Task:
    """Classification with one label for each image.

    classes: the labels, sorted, as int or str; column ``i`` of a model's output is for ``classes[i]``.
    """

    classes: tuple[Label, ...]

    @property
    def columns(self) -> int:
        """The number of columns of a model's output."""
        return len(self.classes)
