"""The templates of the pages and the filters that they use."""

from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")


def environment() -> Environment:
    """The templates by the names of their files. What they show is escaped, so that it is never taken for markup."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["measure"] = measure
    return made


def measure(value: float | None, digits: int = 3) -> str:
    """A number with thousands separators and a true minus sign, or a dash if it is None, nan or infinite."""
    return "–" if value is None or not np.isfinite(value) else f"{value:,.{digits}f}".replace("-", "−")
