"""What can go wrong with a fault, said in a sentence."""

from __future__ import annotations


class FaultError(RuntimeError):
    """A fault that cannot be applied or healed. The message says why, for a person."""


class UnavailableError(FaultError):
    """A fault that this platform, this runtime or this stack cannot do. The message says why, and what would help."""


class JournalError(FaultError):
    """A fault journal that cannot be written or trusted. The message names the file and what to do."""
