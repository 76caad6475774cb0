"""The merchant-server from start to drain."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from random import Random
from typing import Final

from aiohttp import web

from services.common import lifecycle
from services.merchant_server import metrics
from services.merchant_server.app import MerchantApp
from services.merchant_server.behaviour import Behaviour
from services.merchant_server.group_commit import GroupCommit
from services.merchant_server.kept import KeptBehaviour
from services.merchant_server.ledger import LedgerError, LedgerFile
from services.merchant_server.listener import WebhookListener
from services.merchant_server.settings import MerchantSettings

log = logging.getLogger(__name__)
_BACKLOG: Final = 4096
"""A dispatcher that comes back opens hundreds of connections at once; the kernel caps this at its own limit."""
_KEEPALIVE_S: Final = 120.0
"""Longer than any pause between two probes, so that callers find their connections open."""


async def serve(settings: MerchantSettings) -> None:
    """Runs until SIGTERM or SIGINT, then drains: held-back answers are dropped, what is owed to the ledger is written.

    Raises:
        LedgerError: the ledger cannot be used.
        SystemExit: the port is taken.
    """
    stop = lifecycle.stop_event(asyncio.get_running_loop())
    ledger = LedgerFile(settings.ledger_path)
    try:
        await _serve(settings, ledger, stop)
    finally:
        ledger.close()


async def _serve(settings: MerchantSettings, ledger: LedgerFile, stop: asyncio.Event) -> None:
    def observe(lines: int, duration_s: float) -> None:
        metrics.GROUP_LINES.observe(lines)
        metrics.FSYNC_S.observe(duration_s)
        metrics.LEDGER_LINES.set(ledger.synced.lines)

    commits = GroupCommit(ledger, observe)
    started_as = Behaviour(
        failure_rate=settings.failure_rate,
        timeout_share=settings.timeout_share,
        hang_s=settings.hang_s,
        drip_s=2 * settings.request_timeout_sec,
    )
    kept = KeptBehaviour(settings.ledger_path, started_as)
    behaviour = kept.load(caller_timeout_s=settings.request_timeout_sec)
    listener = WebhookListener(commits, settings.secrets, behaviour, Random())  # noqa: S311 - chance, not a secret
    app = MerchantApp(ledger, commits, listener, kept, caller_timeout_s=settings.request_timeout_sec)
    # handler_cancellation: a caller that hangs up ends its held-back answer at once, or they would pile up.
    runner = web.AppRunner(
        app.make(), access_log=None, handler_cancellation=True, keepalive_timeout=_KEEPALIVE_S, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        await commits.commit({"k": "start", "pid": os.getpid(), "at": round(time.time(), 6)})
        await _listen(runner, settings)
        log.info(
            "merchant-server listens on %s:%d failure_rate=%g ledger=%s lines=%d",
            settings.listen_host,
            settings.merchant_port,
            behaviour.failure_rate,
            ledger.path,
            ledger.synced.lines,
        )
        await stop.wait()
        log.info("merchant-server drains hanging=%d", listener.hanging)
    finally:
        app.stopping.set()
        commits.wake_followers()
        listener.drop_hanging()
        await runner.cleanup()
        await commits.close(settings.shutdown_grace_sec)
    log.info("merchant-server ended lines=%d", ledger.synced.lines)


async def _listen(runner: web.AppRunner, settings: MerchantSettings) -> None:
    site = web.TCPSite(runner, settings.listen_host, settings.merchant_port, backlog=_BACKLOG)
    try:
        await site.start()
    except OSError as error:
        where = f"{settings.listen_host}:{settings.merchant_port}"
        raise LedgerError(f"MERCHANT_PORT: cannot listen on {where}: {os.strerror(error.errno or 0)}") from error
