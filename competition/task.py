"""Task: what is predicted for each image, and what a model's columns mean."""

from dataclasses import dataclass

Label = int | str


@dataclass(frozen=True)
class Task:
    """A single label for each image.

    classes: the labels in their own type, sorted; a model's column ``i`` is ``classes[i]``.
    """

    classes: tuple[Label, ...]

    @property
    def columns(self) -> int:
        """How many columns a model predicts."""
        return len(self.classes)
