"""`python -m services.ingestion_api`: migrate, serve, drain."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn
import uvloop
from confluent_kafka import Producer

from services.common import garbage, lifecycle, logs
from services.common.kafka import make_producer
from services.common.lanes import Lanes
from services.common.lifecycle import StopFlag
from services.common.outbox import SESSION_OPTIONS
from services.common.postgres import Link
from services.common.schema import SchemaError, migrate_when_up
from services.common.settings import load
from services.ingestion_api.app import make_app
from services.ingestion_api.group_commit import GroupCommit
from services.ingestion_api.handover import Handover
from services.ingestion_api.marking import Marking
from services.ingestion_api.pace import Pace
from services.ingestion_api.settings import ApiSettings
from services.ingestion_api.store import WRITER_OPTIONS

log = logging.getLogger("services.ingestion_api")
_FIRST_ANSWER_S: Final = 1.5
"""What a start waits for Kafka at most: what is accepted before it has answered is left to the publisher."""


_BURST_MS: Final = 1
"""Long enough for a burst to be one request, however many calls bring it to the client."""


_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 75
"""Longer than nginx keeps an idle connection to a replica (60 s): whoever closes first must not be the one who may
find a request on its way."""
_SWITCH_INTERVAL_S: Final = 0.001
"""The writer gets the interpreter back this soon after a COMMIT under load, instead of after 5 ms."""

_TICK_S: Final = 1.0
"""Between two looks of the server at the clock."""


class _Server(uvicorn.Server):
    """uvicorn's server, to which signals are ours to tell, and which sleeps while nothing happens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Answers what is under way, and returns from `serve`."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which looks ten times a second whether it should leave: here it is told."""
        while not await self.on_tick(0):  # a tick keeps the header "date" right
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._leaving.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none: the process has its own handlers from its first line to its last; the loop hears of them."""
        yield


def main() -> int:
    """Runs the service until SIGTERM or SIGINT; the exit status."""
    settings = load(ApiSettings)
    logs.setup(settings.member_name, settings.log_format, settings.log_level)
    stop = StopFlag()
    stop.install()
    os.nice(settings.api_nice)
    lifecycle.allow_many_files()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        if not migrate_when_up(settings.conninfo, stop):
            return 0
    except SchemaError as error:
        log.error("%s", error)
        return 1
    handover = Handover(
        lambda on_error: _producer(settings, on_error), settings.kafka_topic, Lanes(settings.kafka_topic_partitions)
    )
    deadline_s = settings.postgres_deadline_sec
    marking = Marking(
        handover,
        Link(settings.conninfo, f"{settings.member_name} marking", deadline_s=deadline_s, options=SESSION_OPTIONS),
        settings.member_name,
        interval_s=settings.mark_interval_ms / 1000,
        deadline_s=deadline_s,
    )
    store = GroupCommit(
        Link(settings.conninfo, f"{settings.member_name} writer", deadline_s=deadline_s, options=WRITER_OPTIONS),
        settings.member_name,
        deadline_s=deadline_s,
        max_events=settings.group_max_events,
        after_commit=handover.send,
        pace=Pace(settings.group_linger_ms / 1000),
    )
    handover.ask(_FIRST_ANSWER_S)
    marking.start()
    status = uvloop.run(_serve(settings, store, handover, stop))
    until_s = time.monotonic() + settings.shutdown_grace_sec
    store.stop(settings.shutdown_grace_sec)
    marking.stop(max(0.1, until_s - time.monotonic()))
    log.info("left in order")
    return status


def _producer(settings: ApiSettings, on_error: object) -> Producer:
    return make_producer(
        settings,
        settings.member_name,
        linger_ms=_BURST_MS,
        message_timeout_ms=settings.handover_timeout_ms,
        queue_buffering_max_messages=settings.handover_queue_max,
        queue_buffering_max_kbytes=64 * 1024,
        error_cb=on_error,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError where somebody else does, or the address is not ours."""
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(settings: ApiSettings, store: GroupCommit, handover: Handover, stop: StopFlag) -> int:
    """Serves until a signal; returns when every request under way is answered."""
    loop = asyncio.get_running_loop()
    store.start(loop)
    try:
        listener = _listen(settings.listen_host, settings.api_port)
    except OSError as error:
        log.error("API_PORT: cannot listen on %s:%d: %s", settings.listen_host, settings.api_port, error.strerror)
        return 1
    server = _Server(
        uvicorn.Config(
            make_app(settings.member_name, settings.secrets, store, lambda: handover.kafka_answers),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(settings.shutdown_grace_sec),
            backlog=_BACKLOG,
        )
    )

    def leave() -> None:
        loop.remove_reader(stop.fileno())  # what is readable for good would wake the loop for good
        server.leave()

    loop.add_reader(stop.fileno(), leave)
    garbage.search_rarely()
    log.info("listening host=%s port=%d", settings.listen_host, settings.api_port)
    await server.serve([listener])
    return 0
