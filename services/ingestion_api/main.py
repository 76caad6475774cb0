"""`python -m services.ingestion_api`: migrate, serve, drain."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Final

from confluent_kafka import Producer
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server import MTServer

from services.common import logs
from services.common.kafka import make_producer
from services.common.lanes import Lanes
from services.common.lifecycle import StopFlag
from services.common.outbox import SESSION_OPTIONS
from services.common.postgres import Link
from services.common.schema import SchemaError, migrate_when_up
from services.common.settings import load
from services.ingestion_api.app import make_app
from services.ingestion_api.bursts import Bursts
from services.ingestion_api.group_commit import GroupCommit
from services.ingestion_api.handover import Handover
from services.ingestion_api.marking import Marking
from services.ingestion_api.settings import ApiSettings
from services.ingestion_api.store import WRITER_OPTIONS

log = logging.getLogger("services.ingestion_api")
_FIRST_ANSWER_S: Final = 1.5
"""What a start waits for Kafka at most: what is accepted before it has answered is left to the publisher."""


_BURST_MS: Final = 1
"""Long enough for a burst to be one request, however many calls bring it to the client."""


class _OneProcessServer(MTServer):
    """granian's server with its worker in a thread of this process.

    Its other server forks: two processes per replica, with signals to forward and twice the memory. Threads cost
    nothing here, since the one worker needs the interpreter's lock anyway.
    """

    def _check_gil(self) -> None:
        """granian would rather see several workers on a build without the lock; there is one worker here."""


def main() -> int:
    """Runs the service until SIGTERM or SIGINT; the exit status."""
    settings = load(ApiSettings)
    logs.setup(settings.member_name, settings.log_format, settings.log_level)
    stop = StopFlag()
    stop.install()
    os.nice(settings.api_nice)
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
    bursts = Bursts(handover.send, interval_s=settings.handover_linger_ms / 1000)
    store = GroupCommit(
        Link(settings.conninfo, f"{settings.member_name} writer", deadline_s=deadline_s, options=WRITER_OPTIONS),
        settings.member_name,
        deadline_s=deadline_s,
        max_events=settings.group_max_events,
        after_commit=bursts.add,
        between=bursts.send_due,
        at_end=bursts.send_all,
    )
    handover.ask(_FIRST_ANSWER_S)
    marking.start()
    store.start()
    status = _serve(settings, store, handover, stop)
    until_s = time.monotonic() + settings.shutdown_grace_sec
    store.stop(settings.shutdown_grace_sec)
    marking.stop(max(0.1, until_s - time.monotonic()))
    log.info("left in order")
    return status


def _assert_port_free(host: str, port: int) -> None:
    """granian shares its port with whoever asks (SO_REUSEPORT), so two stacks would take each other's requests.

    Raises:
        OSError: somebody listens there, or the address is not ours.
    """
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, number) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


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


def _serve(settings: ApiSettings, store: GroupCommit, handover: Handover, stop: StopFlag) -> int:
    """Serves until a signal; returns when every request under way is answered."""
    try:
        _assert_port_free(settings.listen_host, settings.api_port)
    except OSError as error:
        log.error("API_PORT: cannot listen on %s:%d: %s", settings.listen_host, settings.api_port, error.strerror)
        return 1
    app = make_app(settings.member_name, settings.secrets, store, lambda: handover.kafka_answers)
    server = _OneProcessServer(
        "services.ingestion_api",
        address=settings.listen_host,
        port=settings.api_port,
        interface=Interfaces.WSGI,
        blocking_threads=settings.api_threads,
        http1_settings=HTTP1Settings(keep_alive=True),
        log_enabled=False,
    )

    @server.on_startup
    def _signalled_before() -> None:
        # granian has just installed its own handlers: a signal that came before them must not be lost.
        if stop.is_set():
            server.signal_handler_interrupt()  # type: ignore[no-untyped-call]  # granian has no types here

    log.info("listening host=%s port=%d", settings.listen_host, settings.api_port)
    try:
        server.serve(target_loader=lambda: app, wrap_loader=False)
    except SystemExit as end:
        log.error("the HTTP server ended by itself")
        return int(end.code or 1)
    return 0
