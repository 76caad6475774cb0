"""Configuration templates of `compose/`: upper-case names in `${…}` are filled in, everything else stays as it is.

The same rule as `envsubst` in the official images, so that one template serves both runtimes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

_NAME: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


def read(path: str) -> str:
    """The text of `compose/<path>`, also out of an installed wheel."""
    return resources.files("compose").joinpath(*path.split("/")).read_text(encoding="utf-8")


def render(path: str, values: Mapping[str, object]) -> str:
    """`compose/<path>` with its names filled in. Raises KeyError for a name without a value."""
    return _NAME.sub(lambda match: str(values[match[1]]), read(path))
