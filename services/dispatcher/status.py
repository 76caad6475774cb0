"""GET /metrics, /healthz and /status, in the dispatcher's own loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.dispatcher import metrics

Status = Callable[[], dict[str, Any]]


async def serve(host: str, port: int, status: Status) -> web.AppRunner:
    """Serves until the runner is cleaned up. Raises SystemExit, naming METRICS_PORT, where the port is taken."""
    started_s = time.time()

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"alive": True, "since": started_s})

    async def show(_: web.Request) -> web.Response:
        return web.json_response(status())

    async def prometheus(_: web.Request) -> web.Response:
        _set_gauges(status())
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/status", show), web.get("/metrics", prometheus)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise SystemExit(f"METRICS_PORT: cannot listen on {host}:{port}: {error.strerror or error}") from error
    return runner


def _set_gauges(status: dict[str, Any]) -> None:
    metrics.IN_FLIGHT.set(status["in_flight"])
    metrics.RETRYING.set(status["retrying"])
    metrics.PARKED.set(status["parked"])
    metrics.REQUEUING.set(status["requeuing"])
    metrics.UNRECORDED.set(status["unrecorded"])
    metrics.PAUSED.set(1 if status["paused"] else 0)
    metrics.ASSIGNED.set(len(status["assigned"]))
    metrics.LAG.clear()
    for partition, lag in status["lag"].items():
        metrics.LAG.labels(partition).set(lag)
