"""How fast a load goes on that gives way to its steps."""

from __future__ import annotations

from typing import Final

FAR_AHEAD: Final = 0.1
"""Of the whole load: so far ahead of the steps it would go at the least pace."""
LEAST: Final = 0.25
"""Never nothing: many faults are only seen under load."""
STEP: Final = 0.05
"""Smaller changes are not made."""


def pace(ahead: float) -> float:
    """The share of its rate at which a load goes on that is `ahead` of the next step, as a share of the whole load.

    A load that goes on regardless may be over while faults are still to come. Those are then seen by nobody: a crash
    point is never reached, and the run proves nothing.
    """
    return min(1.0, max(LEAST, 1 - ahead / FAR_AHEAD))
