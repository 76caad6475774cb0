"""A replay from its first row to the `end` of its operation log.

Usage::

    options = ReplayOptions(source=Path("transactions.csv"), rate_per_s=50)
    folder = prepare(options, runs_dir, ledger_from=0)
    summary = run_replay(Replay(folder, api_url, secrets, on_progress=show))
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import uvloop

from control_room.replay.batches import Batch, BatchSender, batches
from control_room.replay.client import ApiClient
from control_room.replay.drivers import Load, closed_loop, open_loop
from control_room.replay.errors import OptionsError
from control_room.replay.operation_log import OperationLog
from control_room.replay.options import ReplayOptions
from control_room.replay.payments import Payment, RejectedRow, payments
from control_room.replay.progress import OnProgress, ReplaySummary, Tally
from control_room.replay.run_folder import RejectedRows, RunFolder, create_run
from control_room.replay.schedule import FileTime, FixedRate, schedule_for
from control_room.replay.source import CsvSource
from control_room.replay.survey import refuse_bad_rows
from services.common.lifecycle import allow_many_files
from services.common.signing import Secrets

PROGRESS_EVERY_S: Final = 0.2
STOP_GRACE_S: Final = 3.0
"""How long requests on their way may still be answered after the end was asked for."""


def prepare(
    options: ReplayOptions,
    runs_dir: Path,
    *,
    ledger_from: int,
    before_ids: Iterable[str] = (),
    api_url: str = "",
    plan: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Checks the source and makes the run's folder; nothing is sent yet.

    Raises:
        SourceError: the source cannot be replayed at all.
        BadRowsError: `strict`, and it has bad rows; no folder is made.
        RunFolderError: the folder cannot be made.
    """
    CsvSource(options.source)
    if options.strict:
        refuse_bad_rows(options)
    return create_run(runs_dir, options, ledger_from=ledger_from, before_ids=before_ids, api_url=api_url, plan=plan)


class Replay:
    """One replay of a prepared run, or with `resume` its continuation after a crash or an interruption."""

    def __init__(
        self,
        folder: RunFolder,
        api_url: str,
        secrets: Secrets,
        *,
        on_progress: OnProgress | None = None,
        resume: bool = False,
    ) -> None:
        """Raises OptionsError where `api_url` is not a URL, SourceError where the source is gone."""
        options = folder.options
        self._folder = folder
        self._options = options
        self._on_progress = on_progress
        self._resume = resume
        self._source = CsvSource(options.source)
        self._client = ApiClient(api_url, secrets, timeout_s=options.request_timeout_s)
        self._tally = Tally(folder.run_id, expected=_expected(options, folder))
        self._schedule = schedule_for(options)
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Asks for an end in order: no new payments, a short grace for those on their way. From any thread."""
        if self._loop is None:
            self._stop.set()
        else:
            with suppress(RuntimeError):  # the loop ended meanwhile, and the replay with it
                self._loop.call_soon_threadsafe(self._stop.set)

    def change_rate(self, rate_per_s: float) -> None:
        """Goes on at another rate, from any thread. Raises OptionsError where the replay has none."""
        if not isinstance(self._schedule, FixedRate):
            raise OptionsError("only a replay with a rate can change it")
        self._on_loop(self._schedule.change, rate_per_s)

    def change_speed(self, speed: float) -> None:
        """Goes on so many times faster than the file, from any thread. Raises OptionsError where it has no speed."""
        if not isinstance(self._schedule, FileTime):
            raise OptionsError("only a replay in the file's own time can change its speed")
        self._on_loop(self._schedule.change, speed)

    def _on_loop(self, change: Callable[[float], None], value: float) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop ended meanwhile, and the replay with it
                self._loop.call_soon_threadsafe(change, value)

    async def run(self) -> ReplaySummary:
        """Sends everything and returns when it is answered, given up, or `stop` was called.

        Cancelling does as `stop` and then raises CancelledError; the operation log gets its `end` either way.

        Raises:
            RunFolderError: the run's files cannot be written or continued; the log has no `end`.
        """
        self._loop = asyncio.get_running_loop()
        log = OperationLog(self._folder.operations_path, resume=self._resume)
        try:
            with RejectedRows(self._folder.rejected_path) as rejected:
                log.start(self._folder.run_id)
                await self._run(log, rejected)
        finally:
            log.close()
        summary = self._tally.snapshot(ended=True, interrupted=self._stop.is_set())
        if self._on_progress is not None:
            self._on_progress(summary)
        return summary

    async def _run(self, log: OperationLog, rejected: RejectedRows) -> None:
        async with self._client:
            driver = asyncio.ensure_future(self._drive(log, rejected))
            ticker = asyncio.ensure_future(self._tick(log))
            cancelled = await self._until_done(driver, ticker)
            if not driver.cancelled():
                driver.result()
            log.end()
        if cancelled:
            raise asyncio.CancelledError
        if ticker.done():
            ticker.result()
        ticker.cancel()

    async def _until_done(self, driver: asyncio.Future[None], ticker: asyncio.Future[None]) -> bool:
        """Waits for the driver, at most the grace once the end was asked for; whether this task was cancelled."""
        cancelled = False
        stopped = asyncio.ensure_future(self._stopped())
        try:
            await asyncio.wait({driver, ticker, stopped}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            cancelled = True
        if not driver.done():
            self._stop.set()
            try:
                await asyncio.wait({driver}, timeout=STOP_GRACE_S)
            except asyncio.CancelledError:
                cancelled = True
        if not driver.done():
            driver.cancel()
            await asyncio.wait({driver})
        stopped.cancel()
        if cancelled:
            ticker.cancel()
        return cancelled

    async def _stopped(self) -> None:
        await self._stop.wait()

    async def _drive(self, log: OperationLog, rejected: RejectedRows) -> None:
        options = self._options
        # The jitter of waits is chance, not a secret; from the seed, so that a run can be followed again.
        random = Random(options.seed)  # noqa: S311
        sender = BatchSender(self._client, log, self._tally, options.retry, random, self._stop)
        stream, schedule = self._stream(log, rejected), self._schedule
        if options.batch > 1:
            ask = partial(Batch.schedule, schedule=schedule) if schedule is not None else None
            await self._send_all(batches(stream, options.batch), sender.send_batch, ask)
        else:
            await self._send_all(stream, sender.send, schedule.due_s if schedule is not None else None)

    async def _send_all(
        self,
        stream: Iterator[Load],
        send: Callable[[Load, float | None], Awaitable[None]],
        ask: Callable[[Load], object] | None,
    ) -> None:
        """By the clock where there is a schedule to `ask`, else by the answers."""
        at_once = self._options.requests_at_once
        if self._schedule is None or ask is None:
            await closed_loop(stream, send, self._stop, at_once)
        else:
            await open_loop(stream, send, self._stop, self._schedule, ask, at_once)

    def _stream(self, log: OperationLog, rejected: RejectedRows) -> Iterator[Payment]:
        def on_rejected(row: RejectedRow) -> None:
            rejected.add(row)
            self._tally.rejected(row)

        for payment in payments(self._source, self._options, on_rejected):
            if self._resume and payment in log.answered:
                self._tally.skipped += 1
            else:
                yield payment

    async def _tick(self, log: OperationLog) -> None:
        """Answers reach the file soon even where no request follows them, and progress is told."""
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            log.flush()
            if self._on_progress is not None:
                self._on_progress(self._tally.snapshot())


def _expected(options: ReplayOptions, folder: RunFolder) -> int:
    rows = max(0, folder.source.lines - 1) * options.repeat
    return rows if options.max_payments is None else min(rows, options.max_payments)


def run_replay(replay: Replay) -> ReplaySummary:
    """Runs `replay` on a loop of its own until it ends; in the main thread SIGINT and SIGTERM end it in order."""
    allow_many_files()
    with _signals_stop(replay), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(replay.run())


@contextmanager
def _signals_stop(replay: Replay) -> Iterator[None]:
    """Only the main thread may catch signals; what caught them before catches them again afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: replay.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
