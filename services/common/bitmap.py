"""The bitmap of completed offsets in a commit's metadata: printable text of at most 4096 bytes.

`b1:<raw|zlib letter>:<crc32>:<base64>`. Bit k of the bytes (lowest bit first) stands for offset `(base & ~7) + k`,
where base is the committed offset. Text that is not exactly this is ignored: the records are then delivered again,
never skipped.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

MAX_METADATA_BYTES: Final = 4096
"""Kafka's `offset.metadata.max.bytes`: a commit with more is refused."""
_HEAD: Final = "b1:{}:{:08x}:"
_MAX_PACKED_BYTES: Final = (MAX_METADATA_BYTES - len(_HEAD.format("r", 0))) // 4 * 3
MAX_UNPACKED_BYTES: Final = 1 << 20
"""Eight million offsets: far above any window, so that a hostile commit cannot fill the memory."""


def encode(bits: bytes) -> str:
    """Metadata for `bits`; empty where no bit is set.

    Compressed where that is shorter. What does not fit is cut off at its end: the records that it stands for would be
    delivered again after a restart.
    """
    bits = bits.rstrip(b"\0")
    if not bits:
        return ""
    kind, packed = "r", bits
    if len(bits) > 24:
        squeezed = zlib.compress(bits, 6)
        if len(squeezed) < len(bits):
            kind, packed = "z", squeezed
    if len(packed) > _MAX_PACKED_BYTES:
        return encode_raw(bits[:_MAX_PACKED_BYTES])
    return _HEAD.format(kind, zlib.crc32(packed)) + base64.b64encode(packed).decode()


def encode_raw(bits: bytes) -> str:
    """Metadata for `bits` without compression; `bits` must fit."""
    return _HEAD.format("r", zlib.crc32(bits)) + base64.b64encode(bits).decode()


def decode(metadata: str | None) -> bytes:
    """The bits in `metadata`; empty where it holds none or is not a bitmap of ours."""
    parts = (metadata or "").split(":")
    if len(parts) != 4 or parts[0] != "b1" or parts[1] not in ("r", "z"):
        return b""
    try:
        packed = base64.b64decode(parts[3], validate=True)
        if zlib.crc32(packed) != int(parts[2], 16):
            return b""
        if parts[1] == "r":
            return packed
        inflater = zlib.decompressobj()
        bits = inflater.decompress(packed, MAX_UNPACKED_BYTES)
        return bits if inflater.eof else b""
    except (binascii.Error, ValueError, zlib.error):
        return b""
