"""The behaviour on disk, beside the ledger: a restart of the merchant is no end of what it was told to do.

Whoever changed it (a fault that is journalled and open) means it until it is changed back. What it is started with
counts again where that is another thing than before.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import orjson

from services.merchant_server.behaviour import Behaviour, BehaviourError

log = logging.getLogger(__name__)
SUFFIX: Final = ".behaviour.json"


class KeptBehaviour:
    """One file. Not for several threads."""

    def __init__(self, ledger_path: Path, started_as: Behaviour) -> None:
        """`started_as` is the behaviour of the settings."""
        self._path = ledger_path.with_name(ledger_path.name + SUFFIX)
        self._started_as = started_as

    def load(self, *, caller_timeout_s: float) -> Behaviour:
        """The behaviour to begin with.

        Failure policy: open. A file that is missing, damaged or of other settings changes nothing.
        """
        try:
            document = orjson.loads(self._path.read_bytes())
            if document["started_as"] != self._started_as.document():
                return self._started_as
            kept = self._started_as.changed(document["behaviour"], caller_timeout_s=caller_timeout_s)
        except FileNotFoundError:
            return self._started_as
        except (OSError, ValueError, KeyError, TypeError, BehaviourError) as error:
            log.warning("the kept behaviour is not usable path=%s: %s", self._path, error)
            return self._started_as
        if kept != self._started_as:
            log.info("goes on behaving as it was told before mode=%s failure_rate=%g", kept.mode, kept.failure_rate)
        return kept

    def save(self, behaviour: Behaviour) -> None:
        """Keeps it over the death of the process; raises OSError where that cannot be."""
        text = orjson.dumps({"started_as": self._started_as.document(), "behaviour": behaviour.document()})
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(text)
        fresh.replace(self._path)
