"""What can stop a replay. Each message is a sentence for a person."""

from __future__ import annotations


class ReplayError(RuntimeError):
    """A replay that cannot begin or go on."""


class OptionsError(ReplayError):
    """Options that do not fit together, or a value that is not allowed (exit code 2)."""


class SourceError(ReplayError):
    """A source file that holds no payments that could be sent: missing, not text, without the columns (exit code 2)."""


class BadRowsError(ReplayError):
    """`strict`: the source has bad rows, and nothing was sent."""


class RunFolderError(ReplayError):
    """A run's folder that cannot be made, written or continued."""
