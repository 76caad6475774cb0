"""Growth: the same load over more partitions, and with more dispatchers that share them."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.load import Behaviour, Load
from bench.measure import Say, measure
from bench.receiver import Receiver
from bench.sitting import Bench
from bench.stack import running_stack
from control_room.stack.local.layout import Layout

_STOP_S: Final = 15.0
_JOIN_S: Final = 60.0
_LOOK_S: Final = 0.5


def grow(
    state: Path, receiver: Receiver, partitions: int, dispatchers: tuple[int, ...], events: int, say: Say
) -> dict[str, Any]:
    """The closed loop over so many partitions, with each number of dispatchers; by `PARTITIONSxDISPATCHERS`.

    Raises:
        StackError: the stack does not come up.
        OSError: a further dispatcher does not get its share of the partitions.
    """
    found = {}
    with running_stack(state, receiver, {"KAFKA_TOPIC_PARTITIONS": str(partitions)}, say) as stack:
        bench = Bench(stack, receiver, say)
        bench.warm_up()
        for count in sorted(dispatchers):
            with ExitStack() as further:
                pids = {
                    f"dispatcher-{number}": further.enter_context(_dispatcher(state, number))
                    for number in range(2, count + 1)
                }
                target = replace(bench.target, pids={**bench.target.pids, **pids})
                row = measure(target, receiver, Load(events), Behaviour())
            name = f"{partitions}x{count}"
            found[name] = row
            say(
                f"{partitions} partitions, {count} dispatchers: {row['delivered_per_s']:.0f}/s, p99 "
                f"{row['scheduled_to_delivered_ms']['p99']} ms, {row['cpu_s_per_1000']:.2f} CPU-s per 1,000, "
                f"{row['missing']} missing"
            )
    return found


@contextmanager
def _dispatcher(state: Path, number: int) -> Iterator[int]:
    """A further dispatcher, started as the stack's own is; its pid. Raises OSError where it gets no partition."""
    spec = json.loads(Layout(state.absolute()).spec_file("dispatcher").read_text(encoding="utf-8"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environ = {**spec["env"], "MEMBER_NAME": f"dispatcher-{number}", "METRICS_PORT": str(port)}
    silent = subprocess.DEVNULL
    with subprocess.Popen(spec["argv"], env=environ, cwd=spec["cwd"], stdout=silent, stderr=silent) as process:
        try:
            _wait_for_partitions(port)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_partitions(port: int) -> None:
    """Until it says that it has some."""
    until_s = time.monotonic() + _JOIN_S
    while time.monotonic() < until_s:
        if _has_partitions(port):
            return
        time.sleep(_LOOK_S)  # its status page is all that tells
    raise OSError("a further dispatcher got no partitions; there must be at least as many as dispatchers")


def _has_partitions(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=2) as answer:
            return bool(json.load(answer)["assigned"])
    except OSError:
        return False
