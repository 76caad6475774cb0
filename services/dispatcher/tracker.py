"""Which offsets of one partition are complete, out of order. Knows no Kafka: offsets in, commit position out.

The promise rests on this file: an offset counts as complete only because it was completed, does not exist, or was
complete according to an earlier commit.
"""

from __future__ import annotations

from services.common import bitmap

_COMPACT_BYTES = 4096


class OffsetTracker:
    """Completed offsets of one partition during one assignment.

    One bit per offset, aligned to multiples of 8, from `_origin` on; bits beyond the end of the buffer are 0.
    """

    def __init__(self, committed: int | None = None, metadata: str | None = None) -> None:
        """Starts at the offset `committed` with its commit's `metadata`; where None, at the first offset added."""
        self._known = committed is not None
        self._base = committed or 0
        self._next = self._base
        self._origin = self._base & ~7
        self._bits = bytearray(bitmap.decode(metadata)) if committed is not None else bytearray()
        self._advance()

    @property
    def base(self) -> int | None:
        """The offset to commit: every one below it is complete. None before the first offset is known."""
        return self._base if self._known else None

    @property
    def next_offset(self) -> int | None:
        """The offset that the partition's stream should bring next; None before the first."""
        return self._next if self._known else None

    @property
    def span(self) -> int:
        """Offsets between the oldest open one and the newest added: what the bitmap must cover."""
        return max(0, self._next - self._base)

    def add(self, offset: int) -> bool:
        """Takes the stream's next `offset`; whether it is to be delivered.

        False where it is complete already, or still being worked on. Offsets between the expected one and this one do
        not exist (control records, compaction, retention) and count as complete: callers make sure of that first, and
        of `is_behind`.
        """
        if not self._known:
            self._known = True
            self._base = self._next = offset
            self._origin = offset & ~7
        if offset < self._next:
            return False
        if offset > self._next:
            self._fill(max(self._next, self._base), offset)
            self._advance()
        self._next = offset + 1
        return offset >= self._base and not self._is_set(offset)

    def is_behind(self, offset: int) -> bool:
        """Whether the stream's next `offset` lies below all that is known: another log, for another tracker."""
        return self._known and offset < self._base and offset < self._next

    def complete(self, offset: int) -> None:
        """Marks `offset` complete. One that was never added, or is complete already, changes nothing."""
        if self._base <= offset < self._next:
            self._set(offset)
            if offset == self._base:
                self._advance()

    def metadata(self, topic_id: str = "") -> str:
        """The text for the commit at `base`: of which topic it is, and which offsets above it are complete."""
        return bitmap.encode(bytes(self._bits[(self._base >> 3) - (self._origin >> 3) :]), topic_id)

    def open_offsets(self) -> list[int]:
        """Offsets added and not complete, in order. For tests and diagnosis: costs time in proportion to `span`."""
        return [offset for offset in range(self._base, self._next) if not self._is_set(offset)]

    def _is_set(self, offset: int) -> bool:
        position = offset - self._origin
        index = position >> 3
        return index < len(self._bits) and bool(self._bits[index] >> (position & 7) & 1)

    def _set(self, offset: int) -> None:
        position = offset - self._origin
        index = position >> 3
        if index >= len(self._bits):
            self._bits.extend(bytes(index + 64 - len(self._bits)))
        self._bits[index] |= 1 << (position & 7)

    def _fill(self, start: int, end: int) -> None:
        """Sets the bits of [start, end); whole bytes at once, since retention can open a gap of millions."""
        while start < end and start & 7:
            self._set(start)
            start += 1
        whole = (end - start) >> 3
        if whole > 0:
            first = (start - self._origin) >> 3
            if len(self._bits) < first:
                self._bits.extend(bytes(first - len(self._bits)))
            self._bits[first : first + whole] = b"\xff" * whole
            start += whole << 3
        while start < end:
            self._set(start)
            start += 1

    def _advance(self) -> None:
        """Moves the base over the complete offsets, and drops bytes far below it."""
        index = (self._base - self._origin) >> 3
        bits, count = self._bits, len(self._bits)
        # Bits of the base's own byte that lie below the base are not set in a restored bitmap: look bit by bit first.
        while self._is_set(self._base):
            self._base += 1
            if not self._base & 7:
                index = (self._base - self._origin) >> 3
                start = index
                while index < count and bits[index] == 0xFF:
                    index += 1
                self._base += (index - start) << 3
        below = (self._base - self._origin) >> 3
        if below >= _COMPACT_BYTES:
            del self._bits[:below]
            self._origin += below << 3
