"""The ledger's file: append-only chained lines, each group of them written and fsynced in one go.

Used from one thread at a time (services.merchant_server.group_commit); `synced` may be read from any.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.common.chain import ChainError, ChainWriter, read_chain

log = logging.getLogger(__name__)
_TAIL_BYTES: Final = 64 * 1024
"""How much of the end is read at a time when looking for the last whole line."""
_FIRST_BYTES: Final = b'{"n":0,'
"""A file that begins otherwise is somebody else's: it is never cut."""


class LedgerError(RuntimeError):
    """A ledger that cannot be used or written. The message says why and what to do."""


class Synced(NamedTuple):
    """How much of the file is known to be on disk; only this much is ever shown."""

    lines: int
    size_bytes: int


class LedgerFile:
    """One ledger, opened for appending.

    What a killed process left as a torn last line is cut: its answer never left. Anything else that does not fit
    the chain's end is refused, never repaired, because it would hide a change.
    """

    def __init__(self, path: Path) -> None:
        """Opens or makes the file.

        Raises:
            LedgerError: it cannot be opened, another process writes it, or its end is not a ledger's.
        """
        self.path = path
        self.cut_bytes = 0
        """Bytes of a torn last line that were cut at opening."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"LEDGER_PATH: cannot open {path}: {error.strerror}") from error
        try:
            self._lock()
            self._chain, size_bytes = self._continue()
            _sync_folder(path.parent)
        except BaseException:
            os.close(self._fd)
            raise
        self.synced = Synced(self._chain.next_n, size_bytes)
        self._torn = False

    def append(self, records: list[dict[str, Any]]) -> None:
        """Writes `records` as the next lines and returns when they are on disk.

        Failure policy: closed. Where the write or the fsync fails nothing of the group counts: the file is cut back
        to what was synced before, now or before the next group, and the caller answers 503.

        Raises:
            OSError: nothing of the group is in the ledger.
        """
        if self._torn:
            self._cut_back()
        chain = ChainWriter(self._chain.next_n, self._chain.last_c)
        block = b"".join([chain.line(record) for record in records])
        try:
            _write_all(self._fd, block)
            os.fdatasync(self._fd)
        except OSError:
            self._torn = True
            self._cut_back()
            raise
        self._chain = chain
        self.synced = Synced(chain.next_n, self.synced.size_bytes + len(block))

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` of the synced part from `offset` on; safe from any thread."""
        return os.pread(self._fd, max(0, min(size_bytes, self.synced.size_bytes - offset)), offset)

    def close(self) -> None:
        """Closes the file; the lock goes with it."""
        os.close(self._fd)

    def _cut_back(self) -> None:
        os.ftruncate(self._fd, self.synced.size_bytes)
        self._torn = False

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LedgerError(f"LEDGER_PATH: another merchant-server writes {self.path}") from error

    def _continue(self) -> tuple[ChainWriter, int]:
        size_bytes = os.fstat(self._fd).st_size
        head = os.pread(self._fd, len(_FIRST_BYTES), 0)
        if not _FIRST_BYTES.startswith(head):
            raise LedgerError(f"LEDGER_PATH: {self.path} is not a ledger; nothing was changed in it")
        tail, start = self._last_lines(size_bytes)
        whole_bytes = start + tail.rfind(b"\n") + 1
        lines = tail[: whole_bytes - start].splitlines(keepends=True)[-2:]
        chain = ChainWriter()
        try:
            for record in read_chain(lines, trust_first=len(lines) == 2):
                chain = ChainWriter(record["n"] + 1, record["c"])
        except ChainError as error:
            raise LedgerError(
                f"LEDGER_PATH: {self.path} does not end like a ledger ({error}); move it away to begin a new one"
            ) from error
        if whole_bytes < size_bytes:
            self.cut_bytes = size_bytes - whole_bytes
            os.ftruncate(self._fd, whole_bytes)
            log.warning("ledger: cut a torn last line of %d bytes, whose answer never left", self.cut_bytes)
        os.fsync(self._fd)
        return chain, whole_bytes

    def _last_lines(self, size_bytes: int) -> tuple[bytes, int]:
        """The end of the file with at least two whole lines where there are two, and the offset it begins at."""
        start, tail = size_bytes, b""
        while start > 0 and tail.count(b"\n") < 3:
            step = min(_TAIL_BYTES, start)
            start -= step
            tail = os.pread(self._fd, step, start) + tail
        return tail, start


def _write_all(fd: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: Path) -> None:
    """A new file's name is only on disk once its folder is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
