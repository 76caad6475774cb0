"""The operation log, `operations.jsonl`: what the client did, each request's line before the request leaves.

Format: docs/run-files.md. A line survives the death of this process, not that of the machine (no fsync per line).
"""

from __future__ import annotations

import fcntl
import os
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from control_room.replay.errors import RunFolderError
from control_room.replay.payments import Payment
from services.common.chain import ChainError, ChainWriter, read_chain

_MAX_BUFFERED_BYTES: Final = 64 * 1024


class OperationLog:
    """Appends to the log of one run. Every method raises RunFolderError where the file cannot be written.

    Failure policy: closed. A request whose line cannot be written is not sent.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        """Makes the log, or continues the one that is there: a torn last line is cut, its request never left.

        Raises:
            RunFolderError: it exists already (or does not), another replay writes it, or its chain is damaged.
        """
        self._path = path
        self._buffer = bytearray()
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (0 if resume else os.O_CREAT | os.O_EXCL)
        try:
            self._fd = os.open(path, flags, 0o644)
        except OSError as error:
            raise RunFolderError(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._chain, self.operations, self.answered = _read(path, self._fd)
        except BlockingIOError as error:
            os.close(self._fd)
            raise RunFolderError(f"{path} is being written by another replay.") from error
        except BaseException:
            os.close(self._fd)
            raise

    def start(self, run_id: str) -> None:
        """The client begins, or begins again."""
        self._write({"k": "start", "run": run_id, "at": _now()})
        self.flush()

    def invoke(self, payment: Payment, tries: int, due_at_s: float) -> int:
        """The number of the operation whose request may leave now: its line is in the file."""
        operation = self._invoke(payment, tries, due_at_s)
        self.flush()
        return operation

    def invoke_all(self, payments: Sequence[Payment], tries: int, dues_at_s: Sequence[float]) -> range:
        """The numbers of the operations, one for each payment, whose one request may leave now."""
        first = self.operations
        for payment, due_at_s in zip(payments, dues_at_s, strict=True):
            self._invoke(payment, tries, due_at_s)
        self.flush()
        return range(first, self.operations)

    def _invoke(self, payment: Payment, tries: int, due_at_s: float) -> int:
        operation = self.operations
        self._write(
            {
                "k": "invoke",
                "op": operation,
                "id": payment.transaction_id,
                "try": tries,
                "at": _now(),
                "due": round(due_at_s, 6),
                "sha": payment.sha256,
                "row": payment.line,
            }
        )
        self.operations = operation + 1
        return operation

    def ok(self, operation: int, status: int, *, duplicate: bool, by: str) -> None:
        """Accepted. Like `fail` and `info` it goes out with the next request's line, or when `flush` is called."""
        self._write({"k": "ok", "op": operation, "at": _now(), "status": status, "dup": duplicate, "by": by})

    def fail(self, operation: int, status: int) -> None:
        """Definitely refused."""
        self._write({"k": "fail", "op": operation, "at": _now(), "status": status})

    def info(self, operation: int, why: str) -> None:
        """No definite answer."""
        self._write({"k": "info", "op": operation, "at": _now(), "why": why})

    def end(self) -> None:
        """The client ended in order; on disk when this returns."""
        self._write({"k": "end", "ops": self.operations, "at": _now()})
        self.flush()
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Everything is in the file when this returns."""
        try:
            while self._buffer:
                del self._buffer[: os.write(self._fd, self._buffer)]
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Closes the file; the lock goes with it."""
        os.close(self._fd)

    def _write(self, record: dict[str, Any]) -> None:
        self._buffer += self._chain.line(record)
        if len(self._buffer) > _MAX_BUFFERED_BYTES:
            self.flush()

    def _unwritable(self, error: OSError) -> RunFolderError:
        return RunFolderError(f"{self._path} cannot be written: {error.strerror}; nothing more was sent.")


class AnsweredRows:
    """Which payments have a definite answer: eight bytes each, so that a run of millions can be resumed.

    Known by id and line together: in a file that holds an id twice both rows are sent.
    """

    def __init__(self) -> None:
        self._keys = array("q")
        self._sorted = True

    def __len__(self) -> int:
        """How many payments were answered."""
        return len(self._keys)

    def add(self, key: int) -> None:
        """Takes a key made by `key`."""
        self._keys.append(key)
        self._sorted = False

    def __contains__(self, payment: Payment) -> bool:
        """Whether `payment` has a definite answer."""
        if not self._sorted:
            self._keys = array("q", sorted(self._keys))
            self._sorted = True
        key = self.key(payment.transaction_id, payment.line)
        place = bisect_left(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key

    @staticmethod
    def key(transaction_id: str, line: int) -> int:
        """64 bits that stand for one row: two rows of a million share one once in thirty million runs."""
        return hash((transaction_id, line))


def _now() -> float:
    return time.time_ns() // 1000 / 1e6


def _read(path: Path, fd: int) -> tuple[ChainWriter, int, AnsweredRows]:
    """Where the chain ends, how many operations it holds, and who was answered; cuts a torn last line."""
    chain, operations, answered = ChainWriter(), 0, AnsweredRows()
    pending: dict[int, int] = {}
    lines = _WholeLines(path)
    try:
        for record in read_chain(lines):
            chain.next_n, chain.last_c = record["n"] + 1, record["c"]
            kind = record["k"]
            if kind == "invoke":
                operations += 1
                pending[record["op"]] = AnsweredRows.key(record["id"], record["row"])
            elif kind in ("ok", "fail"):
                answered.add(pending.pop(record["op"]))
            elif kind == "info":
                pending.pop(record["op"], None)
    except (ChainError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged and cannot be continued: {error}.") from error
    if lines.torn:
        os.ftruncate(fd, lines.whole_bytes)
    return chain, operations, answered


class _WholeLines:
    """The lines of a file but for a torn last one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.whole_bytes = 0
        self.torn = False

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb", buffering=1 << 20) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    self.torn = True
                    return
                self.whole_bytes += len(line)
                yield line
