"""The exit codes of every verb: part of the interface (design, section 5)."""

from typing import Final

FINE: Final = 0
"""Fine, or proven."""
FAILED: Final = 1
"""An action that could not be carried out; the sentence on stderr says why."""
USAGE: Final = 2
UNREACHABLE: Final = 3
"""The stack is not there or does not answer."""
LOST: Final = 10
"""Any class that makes a verdict invalid."""
LATE: Final = 11
UNKNOWN: Final = 12
INTERRUPTED: Final = 130
