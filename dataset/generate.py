"""Makes payments: `python -m dataset.generate --rows N --seed S [-o FILE]`.

The same rows and seed give the same bytes on every machine and Python version: of the generator only `random()` is
used (the one method whose sequence Python promises), and of arithmetic only what IEEE 754 fixes.

`dataset/transactions.csv` is `--rows 1000 --seed 20260114`.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final, TextIO, TypeVar

from dataset.names import MERCHANT_HANDLES, MERCHANTS, OTHER_SCRIPTS, PERSON_HANDLES, REGIONS, Name
from services.common.event import COLUMNS

DEFAULT_ROWS: Final = 1000
DEFAULT_SEED: Final = 20260114
DAY: Final = "2026-01-14"
MAX_PAISE: Final = 200_000_00
FAILED_SHARE: Final = 0.04
_MERCHANT_SHARE: Final = 0.55
_OTHER_SCRIPT_SHARE: Final = 0.06
_MINUTES: Final = 24 * 60
_BURSTS: Final = 24
_HOUR_WEIGHTS: Final = (4, 2, 1, 1, 1, 3, 8, 16, 28, 36, 40, 42, 48, 46, 38, 36, 38, 44, 54, 62, 58, 44, 26, 12)
"""How busy each hour of the day is."""
_USUAL_RUPEES: Final = (10, 20, 49, 50, 99, 100, 149, 199, 200, 249, 299, 399, 499, 500, 599, 999, 1000, 2000, 5000)

T = TypeVar("T")


def rows(count: int, seed: int) -> Iterator[tuple[str, ...]]:
    """`count` rows in the order of COLUMNS, timestamps ascending over one day, in constant memory."""
    random = Random(seed)  # noqa: S311 - made-up payments that anyone can make again, no secrets
    for second in _seconds(random, count):
        sender, sender_handle = _person(random)
        receiver, receiver_handle = _merchant(random) if random.random() < _MERCHANT_SHARE else _person(random)
        paise = _paise(random)
        yield (
            _uuid(random),
            f"{DAY} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}",
            sender,
            sender_handle,
            receiver,
            receiver_handle,
            f"{paise // 100}.{paise % 100:02d}",
            "FAILED" if random.random() < FAILED_SHARE else "SUCCESS",
        )


def write(file: TextIO, count: int, seed: int) -> None:
    """The header and `count` rows as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows(count, seed))


def _seconds(random: Random, count: int) -> Iterator[int]:
    """Ascending seconds of the day: by the hour's weight, with some minutes a dozen times busier."""
    weights = [_HOUR_WEIGHTS[minute // 60] for minute in range(_MINUTES)]
    for _ in range(_BURSTS):
        weights[360 + _below(random, 1020)] *= 12
    total, passed, made = sum(weights), 0, 0
    for minute, weight in enumerate(weights):
        passed += weight
        upto = count * passed // total
        yield from sorted(minute * 60 + _below(random, 60) for _ in range(upto - made))
        made = upto


def _person(random: Random) -> Name:
    """A person's name and UPI id."""
    if random.random() < _OTHER_SCRIPT_SHARE:
        name, latin = _one_of(random, OTHER_SCRIPTS)
    else:
        given, family = _one_of(random, REGIONS)
        name = latin = f"{_one_of(random, given)} {_one_of(random, family)}"
    account = latin.lower().replace(" ", ".").replace("'", "")
    return name, f"{account}{1 + _below(random, 99)}@{_one_of(random, PERSON_HANDLES)}"


def _merchant(random: Random) -> Name:
    """A merchant's name and UPI id; the same merchant always has the same one."""
    place = _below(random, len(MERCHANTS))
    name, account = MERCHANTS[place]
    return name, f"{account}@{MERCHANT_HANDLES[place % len(MERCHANT_HANDLES)]}"


def _paise(random: Random) -> int:
    """1 to 200,000 rupees: mostly small, often a usual price, now and then a rent or a car."""
    kind = random.random()
    if kind < 0.30:
        return _one_of(random, _USUAL_RUPEES) * 100
    share = random.random()
    if kind < 0.92:
        return 100 + int(share * share * share * 4_999_00)
    return 100 + int(share * share * (MAX_PAISE - 99))


def _uuid(random: Random) -> str:
    """A random UUID (version 4) that follows from the seed."""
    words = [int(random.random() * 0x1_0000_0000) for _ in range(4)]
    words[1] = words[1] & 0xFFFF0FFF | 0x4000
    words[2] = words[2] & 0x3FFFFFFF | 0x80000000
    text = "".join(f"{word:08x}" for word in words)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _one_of(random: Random, choices: Sequence[T]) -> T:
    return choices[_below(random, len(choices))]


def _below(random: Random, limit: int) -> int:
    return int(random.random() * limit)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when done, 1 with a sentence where the file cannot be written."""
    parser = argparse.ArgumentParser(prog="python -m dataset.generate", description="Makes payments as CSV.")
    parser.add_argument("--rows", type=_count, default=DEFAULT_ROWS, help=f"how many (default {DEFAULT_ROWS})")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"decides them all (default {DEFAULT_SEED})")
    parser.add_argument("-o", "--output", type=Path, help="the file to write; stdout where not given")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.output is None:
            _to_stdout(chosen.rows, chosen.seed)
        else:
            _to_file(chosen.output, chosen.rows, chosen.seed)
    except BrokenPipeError:
        # Whoever read (`| head`) has enough. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        sys.stderr.write(f"{chosen.output or 'stdout'} cannot be written: {error.strerror}.\n")
        return 1
    return 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError("must be a whole number from 0 on")
    return int(text)


def _to_stdout(count: int, seed: int) -> None:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    write(sys.stdout, count, seed)
    sys.stdout.flush()


def _to_file(path: Path, count: int, seed: int) -> None:
    """Whole or not at all: a half-written file never stands under the name that was asked for."""
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            write(file, count, seed)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())
