"""How contests lay out their files: each way recognises its own and says what it found."""

from competition.layouts.corrections import corrections_in, label_cells, read_corrections
from competition.layouts.evidence import competition_folder, holds_competition
from competition.layouts.extra import read_extra
from competition.layouts.known import KNOWN, KnownCompetition, read_known
from competition.layouts.load import load_competition

__all__ = [
    "KNOWN",
    "KnownCompetition",
    "competition_folder",
    "corrections_in",
    "holds_competition",
    "label_cells",
    "load_competition",
    "read_corrections",
    "read_extra",
    "read_known",
]
