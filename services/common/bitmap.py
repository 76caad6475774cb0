"""The bitmap of completed offsets in a commit's metadata: printable text of at most 4096 bytes.

`b2:<topic id>:<raw|zlib letter>:<crc32>:<base64>`. The id says which log the offsets are of: a topic that was deleted
and made again keeps its name, and a commit on the old one says nothing about the new one. Bit k of the bytes (lowest
bit first) stands for offset `(base & ~7) + k`, where base is the committed offset. Text that is not exactly this is
ignored: the records are then delivered again, never skipped.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

MAX_METADATA_BYTES: Final = 4096
"""Kafka's `offset.metadata.max.bytes`: a commit with more is refused."""
_HEAD: Final = "b2:{}:{}:{:08x}:"
_MAX_TOPIC_ID_BYTES: Final = 32
_MAX_PACKED_BYTES: Final = (MAX_METADATA_BYTES - len(_HEAD.format("", "r", 0)) - _MAX_TOPIC_ID_BYTES) // 4 * 3
MAX_UNPACKED_BYTES: Final = 1 << 20
"""Eight million offsets: far above any window, so that a hostile commit cannot fill the memory."""


def encode(bits: bytes, topic_id: str = "") -> str:
    """Metadata for `bits` of the topic with that id; empty where no bit is set and no id is given.

    Compressed where that is shorter. What does not fit is cut off at its end: the records that it stands for would be
    delivered again after a restart.
    """
    bits = bits.rstrip(b"\0")
    if not bits and not topic_id:
        return ""
    kind, packed = "r", bits
    if len(bits) > 24:
        squeezed = zlib.compress(bits, 6)
        if len(squeezed) < len(bits):
            kind, packed = "z", squeezed
    if len(packed) > _MAX_PACKED_BYTES:
        kind, packed = "r", bits[:_MAX_PACKED_BYTES]
    return _HEAD.format(topic_id, kind, zlib.crc32(packed)) + base64.b64encode(packed).decode()


def topic_id_in(metadata: str | None) -> str:
    """The id of the topic that a commit with `metadata` was about; empty where it does not say."""
    parts = (metadata or "").split(":")
    return parts[1] if len(parts) == 5 and parts[0] == "b2" else ""


def decode(metadata: str | None) -> bytes:
    """The bits in `metadata`; empty where it holds none or is not a bitmap of ours."""
    parts = (metadata or "").split(":")
    if len(parts) != 5 or parts[0] != "b2" or parts[2] not in ("r", "z"):
        return b""
    try:
        packed = base64.b64decode(parts[4], validate=True)
        if zlib.crc32(packed) != int(parts[3], 16):
            return b""
        if parts[2] == "r":
            return packed
        inflater = zlib.decompressobj()
        bits = inflater.decompress(packed, MAX_UNPACKED_BYTES)
        return bits if inflater.eof else b""
    except (binascii.Error, ValueError, zlib.error):
        return b""
