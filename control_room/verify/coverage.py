"""Which offsets of one partition a commit of the dispatcher's group stands for: the offset and its bitmap, decoded."""

from __future__ import annotations

from collections.abc import Iterator

from services.common.bitmap import decode


class Coverage:
    """What one commit covers. Metadata that is not a bitmap of ours covers nothing, as for the dispatcher itself."""

    __slots__ = ("_bits", "_origin", "base")

    def __init__(self, committed: int | None, metadata: str | None = None) -> None:
        """`committed` is the group's offset in the partition, None where it never committed there."""
        self.base = committed or 0
        """Every offset below it is covered."""
        self._origin = self.base & ~7
        self._bits = decode(metadata) if committed is not None else b""

    def covers(self, offset: int) -> bool:
        """Whether the record at `offset` counts as finished."""
        if offset < self.base:
            return True
        position = offset - self._origin
        index = position >> 3
        return index < len(self._bits) and bool(self._bits[index] >> (position & 7) & 1)

    def gaps(self, begin: int, end: int) -> Iterator[int]:
        """The offsets in [begin, end) that it does not cover."""
        return (offset for offset in range(max(begin, self.base), end) if not self.covers(offset))

    def is_whole(self, begin: int, end: int) -> bool:
        """Whether it covers all of [begin, end)."""
        return next(self.gaps(begin, end), None) is None
