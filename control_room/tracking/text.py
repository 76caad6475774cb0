"""Text from outside (names, errors, answers) made harmless before it reaches a terminal."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def harmless(text: object, limit_chars: int = 500) -> str:
    """`text` on one line: control, escape and direction characters as `\\x..`, and no longer than `limit_chars`."""
    plain = str(text)[: limit_chars + 1]
    if not plain.isprintable():
        plain = "".join(map(_shown, plain))
    return plain if len(plain) <= limit_chars else plain[: limit_chars - 1] + "…"


def _shown(ch: str) -> str:
    if ch.isprintable():
        return ch
    code = ord(ch)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def to_json_text(value: Any) -> str:
    """`value` as indented JSON, ASCII only: safe to print whatever it holds."""
    return json.dumps(value, indent=2, ensure_ascii=True, default=str)


def amount_text(amount_inr: Decimal) -> str:
    """`₹3,907.34`; `₹?` where nobody kept the amount."""
    return "₹?" if amount_inr.is_nan() else f"₹{amount_inr:,.2f}"
