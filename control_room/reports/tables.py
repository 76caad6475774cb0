"""Tables of a run for other programs: attempts.csv, and deliveries and attempts as JSON lines or Parquet. Streamed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any, Final, NamedTuple

import orjson

from control_room.verify.chained import records, shaped
from control_room.verify.deliveries import Deliveries
from control_room.verify.duplicates import WORDS
from control_room.verify.durable import whole_file
from control_room.verify.files import ATTEMPTS
from control_room.verify.manifest import EvidenceError
from control_room.verify.output import FORMULA, safe_cell, write_csv
from control_room.verify.verdict import Verdict

ATTEMPTS_CSV: Final = "attempts.csv"
_BATCH_ROWS: Final = 20_000
"""Rows of a Parquet row group: some megabytes, so that a million rows never lie in memory together."""

Cell = str | int | float | None
Row = Sequence[Cell]


class Format(StrEnum):
    """What a table can be written as besides CSV."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class Column(NamedTuple):
    """A column: its name and the kind of its cells."""

    name: str
    kind: type


DELIVERY_COLUMNS: Final = (
    Column("id", str),
    Column("accepted_at", float),
    Column("delivered_at", float),
    Column("attempts", int),
    Column("rounds", int),
    Column("answers", str),
    Column("duplicates", int),
    Column("cause", str),
    Column("class", str),
    Column("why", str),
)
"""Those of deliveries.csv."""
ATTEMPT_COLUMNS: Final = (
    Column("id", str),
    Column("round", int),
    Column("try", int),
    Column("at", float),
    Column("ms", float),
    Column("status", int),
    Column("error", str),
    Column("by", str),
    Column("partition", int),
    Column("offset", int),
    Column("next", float),
    Column("red", int),
)
"""Those of attempts.jsonl, without its chain."""


class MissingExtraError(RuntimeError):
    """A format needs a library that is not installed. The message says how to get it."""


def require(formats: Iterable[Format]) -> None:
    """Raises MissingExtraError where a format cannot be written here."""
    if Format.PARQUET in formats:
        _pyarrow()


def write_tables(run_dir: Path, verdict: Verdict, formats: Sequence[Format] = ()) -> list[Path]:
    """Writes attempts.csv, and deliveries and attempts in each further format, and returns their paths.

    attempts.jsonl is the evidence itself and is left alone. A table whose evidence is damaged holds its columns alone.

    Raises:
        MissingExtraError: a format's library is not installed.
        OSError: the folder cannot be written to.
    """
    require(formats)
    written = [_unless_damaged(write_safe_csv, run_dir / ATTEMPTS_CSV, ATTEMPT_COLUMNS, run_dir)]
    if Format.JSONL in formats:
        path = run_dir / "deliveries.jsonl"
        written.append(write_jsonl(path, DELIVERY_COLUMNS, delivery_rows(verdict.deliveries)))
    if Format.PARQUET in formats:
        path = run_dir / "deliveries.parquet"
        written.append(write_parquet(path, DELIVERY_COLUMNS, delivery_rows(verdict.deliveries)))
        written.append(_unless_damaged(write_parquet, run_dir / "attempts.parquet", ATTEMPT_COLUMNS, run_dir))
    return written


def _unless_damaged(write: Any, path: Path, columns: Sequence[Column], run_dir: Path) -> Path:
    try:
        done: Path = write(path, columns, attempt_rows(run_dir))
    except EvidenceError:
        done = write(path, columns, ())
    return done


def delivery_rows(deliveries: Deliveries | None) -> Iterator[Row]:
    """One row per id."""
    for row in deliveries or ():
        yield (
            row.transaction_id,
            row.accepted_at or None,
            row.delivered_at or None,
            row.attempts,
            row.rounds,
            row.answers,
            row.duplicates,
            "; ".join(WORDS[cause] for cause in row.causes),
            row.outcome.value,
            row.why,
        )


def attempt_rows(run_dir: Path) -> Iterator[Row]:
    """One row per attempt that the dispatcher recorded. Raises EvidenceError where the file is damaged."""
    names = [column.name for column in ATTEMPT_COLUMNS]
    right: set[tuple[type, ...]] = set()
    with shaped(ATTEMPTS):
        for record in records(run_dir / ATTEMPTS):
            row = tuple(map(record.get, names))
            kinds = tuple(map(type, row))
            if kinds not in right:  # a run has millions of attempts, and a handful of kinds of them
                if not _as_columns(kinds):
                    yield tuple(_cell(cell, column.kind) for cell, column in zip(row, ATTEMPT_COLUMNS, strict=True))
                    continue
                right.add(kinds)
            yield row


def _as_columns(kinds: Sequence[type]) -> bool:
    """Whether cells of these kinds are what ATTEMPT_COLUMNS say."""
    return all(kind in (column.kind, NoneType) for kind, column in zip(kinds, ATTEMPT_COLUMNS, strict=True))


def _cell(value: Any, kind: type) -> Cell:
    """The value as its column's kind; a number is never a text that a spreadsheet could take for something else."""
    return None if value is None else kind(value)


def write_safe_csv(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> Path:
    """`rows` as CSV in which no spreadsheet finds a formula."""
    texts = [place for place, column in enumerate(columns) if column.kind is str]
    return write_csv(path, [column.name for column in columns], (_safe(row, texts) for row in rows))


def _safe(row: Row, texts: Sequence[int]) -> Row:
    """`row` with its texts made safe: nearly always as it is."""
    for place in texts:
        cell = row[place]
        if isinstance(cell, str) and cell.startswith(FORMULA):
            return [safe_cell(cell) if isinstance(cell, str) else cell for cell in row]
    return row


def write_jsonl(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> Path:
    """`rows` as one JSON object each; null where there is nothing."""
    names = [column.name for column in columns]
    with whole_file(path) as file:
        for row in rows:
            file.write(orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE))
    return path


def write_parquet(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> Path:
    """`rows` as Parquet. Raises MissingExtraError."""
    arrow, parquet = _pyarrow()
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    schema = arrow.schema([(column.name, kinds[column.kind]) for column in columns])
    waiting = iter(rows)
    with whole_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(waiting, _BATCH_ROWS)):
            cells = zip(*batch, strict=True)
            arrays = [arrow.array(column, kind.type) for column, kind in zip(cells, schema, strict=True)]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))
    return path


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        sentence = "Parquet needs pyarrow, which is not installed: pip install 'bruce-control[parquet]'"
        raise MissingExtraError(sentence) from error
