"""What the control room costs: a table with limits; exit code 1 where one is missed.

    python -m scripts.bench_ui [--state DIR] [--seconds 20] [--only WORD] [--json | --markdown]

Rows of a stack take the one that is up at --state and leave it up; without one they are left out, and said to be. The
others run the real control room in a pseudo-terminal of 160x48, over made-up traffic from the feed's Postgres on.
stdout is the result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.bench_ui.measures import FEWER, MANY, Row, as_json, cpu_made_up, first_paint, under_load
from scripts.bench_ui.stack_measures import is_up, left_out, stack_rows

_WORDS = {True: "holds", False: "MISSES", None: "-"}


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


def _table(rows: list[Row], *, markdown: bool) -> str:
    lines = [("what", "measured", "at most", "", "how")]
    for row in rows:
        value = "-" if row.value is None else f"{row.value:.3g} {row.unit}"
        lines.append((row.name, value, f"{row.limit:.3g} {row.unit}", _WORDS[row.holds], row.note))
    if markdown:
        lines.insert(1, ("---",) * 5)
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    told = [[*(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)), line[4]] for line in lines]
    return "".join("  ".join(line).rstrip() + "\n" for line in told)


def main() -> None:
    """Measures and prints."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what was started is ended then too
    parser = argparse.ArgumentParser(prog="bench_ui", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(os.environ.get("BRUCE_STATE", ".bruce")), help="as in `up`")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each row is watched (default: 20)")
    parser.add_argument("--only", default="", help="rows of one kind: start, cpu, lag, memory or stack")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="the result as JSON")
    how.add_argument("--markdown", action="store_true", help="the result as a table for a page")
    given = parser.parse_args()
    state = given.state.absolute() if is_up(given.state) else None
    kinds: dict[str, Callable[[], list[Row]]] = {
        "start": partial(first_paint, state, _say),
        "cpu": partial(cpu_made_up, given.seconds, _say),
        "lag": partial(under_load, FEWER, given.seconds, _say),
        "memory": partial(under_load, MANY, given.seconds, _say),
        "stack": partial(stack_rows, state, given.seconds, _say) if state else left_out,
    }
    if given.only and given.only not in kinds:
        parser.error(f"--only takes one of {', '.join(kinds)}")
    rows = [row for name, measure in kinds.items() if given.only in ("", name) for row in measure()]
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    if given.json:
        sys.stdout.write(json.dumps(as_json(rows, machine), indent=2) + "\n")
    else:
        sys.stdout.write(_table(rows, markdown=given.markdown))
    sys.exit(any(row.holds is False for row in rows))


if __name__ == "__main__":
    main()
