"""A run's folder: its name, `run.json`, `before.jsonl` and `rejected.csv` (docs/run-files.md)."""

from __future__ import annotations

import csv
import os
import platform
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import orjson

from control_room.replay.errors import RunFolderError
from control_room.replay.options import ReplayOptions
from control_room.replay.payments import RejectedRow
from control_room.replay.source import Fingerprint, fingerprint
from services.common.chain import ChainWriter

FORMAT: Final = 1
RUN_FILE: Final = "run.json"
OPERATIONS_FILE: Final = "operations.jsonl"
BEFORE_FILE: Final = "before.jsonl"
REJECTED_FILE: Final = "rejected.csv"
_FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder and what its `run.json` says."""

    path: Path
    run_id: str
    options: ReplayOptions
    source: Fingerprint

    @property
    def operations_path(self) -> Path:
        """The operation log."""
        return self.path / OPERATIONS_FILE

    @property
    def rejected_path(self) -> Path:
        """The rows that were never sent."""
        return self.path / REJECTED_FILE


def create_run(
    runs_dir: Path,
    options: ReplayOptions,
    *,
    ledger_from: int,
    before_ids: Iterable[str] = (),
    api_url: str = "",
    plan: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Makes the folder of a new run, with all that is written before its first request.

    Args:
        runs_dir: where the runs lie; made where it is missing.
        options: what will be replayed; the whole source is read once for its SHA-256.
        ledger_from: how many lines the merchant's ledger has now.
        before_ids: transaction ids of others that are not delivered yet.
        api_url: kept in run.json for people to read.
        plan: what else run.json keeps, such as `faults_planned` (docs/run-files.md).

    Raises:
        SourceError: the source cannot be read.
        RunFolderError: the folder cannot be made.
    """
    source = fingerprint(options.source)
    now = datetime.now(UTC)
    try:
        path = _new_folder(runs_dir, now, options.seed)
        folder = RunFolder(path, path.name, options, source)
        _write_before(path / BEFORE_FILE, before_ids)
        document = {**(plan or {}), **_document(folder, now, ledger_from, api_url)}
        _write_whole(path / RUN_FILE, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise RunFolderError(f"The run's folder in {runs_dir} cannot be made: {error.strerror}.") from error
    return folder


def open_run(path: Path) -> RunFolder:
    """The folder of a run that is to be resumed.

    Raises:
        RunFolderError: there is no such run, or its source is not the file it was.
    """
    try:
        document = orjson.loads((path / RUN_FILE).read_bytes())
        if document["format"] != FORMAT:
            raise RunFolderError(f"{path} is a run of format {document['format']}; this version reads {FORMAT}.")
        options = ReplayOptions.from_document(document["settings"])
        run_id, sha256 = str(document["run"]), document["source"]["sha256"]
    except OSError as error:
        raise RunFolderError(f"{path} is not a run that can be resumed: {error.strerror}.") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path / RUN_FILE} cannot be read: {error}.") from error
    source = fingerprint(options.source)
    if source.sha256 != sha256:
        raise RunFolderError(f"{options.source} has changed since the run began; a resumed run needs the same file.")
    return RunFolder(path, run_id, options, source)


def _new_folder(runs_dir: Path, now: datetime, seed: int) -> Path:
    runs_dir.mkdir(parents=True, exist_ok=True)
    suffix = seed & 0xFFFF
    while True:
        path = runs_dir / f"{now:%Y%m%d-%H%M%S}-{suffix:04x}"
        try:
            path.mkdir()
        except FileExistsError:
            suffix = secrets.randbits(16)  # the same seed twice within a second
        else:
            return path


def _document(folder: RunFolder, now: datetime, ledger_from: int, api_url: str) -> dict[str, Any]:
    options = folder.options
    settings = options.document()
    settings["source"] = str(options.source.resolve())
    return {
        "format": FORMAT,
        "run": folder.run_id,
        "seed": options.seed,
        "created_at": round(now.timestamp(), 6),
        "started_at": round(now.timestamp(), 6),
        "settings": settings,
        "api_url": api_url,
        "source": {
            "name": options.source.name,
            "sha256": folder.source.sha256,
            "bytes": folder.source.size_bytes,
            "lines": folder.source.lines,
        },
        "ledger_from": ledger_from,
        "versions": {"bruce": metadata.version("bruce-control"), "python": platform.python_version()},
    }


def _write_before(path: Path, ids: Iterable[str]) -> None:
    chain = ChainWriter()
    with path.open("xb", buffering=1 << 20) as file:
        for transaction_id in ids:
            file.write(chain.line({"k": "before", "id": transaction_id}))
        file.flush()
        os.fsync(file.fileno())


def _write_whole(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class RejectedRows:
    """Writes `rejected.csv`; a resumed run finds the same rows again and begins it anew."""

    def __init__(self, path: Path) -> None:
        """Raises RunFolderError where the file cannot be made."""
        try:
            # surrogateescape: a row that was not UTF-8 is kept byte for byte.
            self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow(("line", "reasons", "row"))
            self._file.flush()
        except OSError as error:
            raise RunFolderError(f"{path} cannot be written: {error.strerror}.") from error

    def __enter__(self) -> RejectedRows:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes the file."""
        self._file.close()

    def add(self, row: RejectedRow) -> None:
        """Keeps one row, in the file when this returns. Raises RunFolderError where it cannot."""
        # A spreadsheet that opens the file must not run a cell of somebody else's.
        text = "'" + row.row if row.row.startswith(_FORMULA_BEGINS) else row.row
        try:
            self._writer.writerow((row.line, "; ".join(row.reasons), text))
            self._file.flush()
        except OSError as error:
            raise RunFolderError(f"{self._file.name} cannot be written: {error.strerror}.") from error
