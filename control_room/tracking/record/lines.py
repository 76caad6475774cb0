"""The lines of the tracking record as moments: a whole one now and then, steps from the one before in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from control_room.tracking.record.patches import difference, patched
from services.common.chain import ChainError, ChainWriter, read_chain

WHOLE_EVERY: Final = 300
"""Every so many lines one is whole: what is read at random begins there."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the record, put together."""

    at_s: float
    """Unix time."""
    ages_s: list[float]
    tree: Any


class Lines:
    """Makes the lines of one record, in order."""

    def __init__(self, chain: ChainWriter | None = None) -> None:
        """`chain` continues a file."""
        self._chain = chain or ChainWriter()
        self._before: Any = None
        self._since_whole = 0

    def line(self, moment: Moment) -> bytes:
        """The next line, newline included."""
        record: dict[str, Any] = {"k": "step", "at": round(moment.at_s, 3), "ages": moment.ages_s}
        if self._before is None or self._since_whole >= WHOLE_EVERY:
            self._since_whole = 0
            record["k"], record["now"] = "whole", moment.tree
        elif (step := difference(self._before, moment.tree)) is not None:
            record["step"] = step
        self._since_whole += 1
        self._before = moment.tree
        return self._chain.line(record)

    def is_news(self, tree: Any) -> bool:
        """Whether `tree` is other than the one of the line before."""
        return bool(self._before != tree)


def moments(lines: Iterable[bytes]) -> Iterator[Moment]:
    """Each moment of a record.

    Raises:
        ValueError: at the first line that is torn, changed, or fits nothing; what was yielded before it is sound.
    """
    tree: Any = None
    try:
        for record in read_chain(lines):
            if record["k"] == "whole":
                tree = record["now"]
            elif "step" in record:
                tree = patched(tree, record["step"])
            yield Moment(float(record["at"]), record["ages"], tree)
    except (ChainError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error
