"""Whether a block of a checksummed file has the lines that were written, one beginning each."""

from __future__ import annotations

from typing import Final

_BEGIN: Final = b'{"n":'
_NEXT: Final = b"\n" + _BEGIN


def are_whole(block: bytes) -> bool:
    """Whether every line of `block`, which ends with a newline or is empty, begins as written lines do, and only there.

    A line that broke off has the next one behind it: what is looked for in the whole block would then be found in the
    beginning of the one and the end of the other.
    """
    lines = block.count(b"\n")
    return lines == 0 or (block.startswith(_BEGIN) and block.count(_NEXT) == lines - 1 and block.count(_BEGIN) == lines)
