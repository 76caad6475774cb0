"""Eight flags for each of millions of ids, in seven bytes: a dict of the ids' texts takes 130 MB for a million of them.

For counting, not for judging: an id is known by 62 bits of its hash, which two of a million ids share in one run of
ten million.
"""

from __future__ import annotations

from typing import Final

_BUCKETS: Final = 1 << 14
_HASH_BITS: Final = (1 << 64) - 1
_KEY_BYTES: Final = 6
_ENTRY_BYTES: Final = _KEY_BYTES + 1


class FlagsById:
    """Flags by id; 0 of an id that was never added. One thread uses it, in the process that made it."""

    def __init__(self) -> None:
        self._buckets: list[bytearray | None] = [None] * _BUCKETS

    def add(self, transaction_id: str, flags: int) -> int:
        """Adds `flags`, 0 to 255, to those of an id; the ones it had before."""
        mixed = hash(transaction_id) & _HASH_BITS
        key = (mixed >> 16).to_bytes(_KEY_BYTES, "little")
        number = mixed & (_BUCKETS - 1)
        bucket = self._buckets[number]
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        at = bucket.find(key)
        while at >= 0 and at % _ENTRY_BYTES:  # the end of one entry and the beginning of the next
            at = bucket.find(key, at + 1)
        if at < 0:
            bucket += key
            bucket.append(flags)
            return 0
        before = bucket[at + _KEY_BYTES]
        bucket[at + _KEY_BYTES] = before | flags
        return before
