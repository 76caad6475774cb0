"""The checker reads files: nothing that touches a network or a store is even loaded with it."""

import subprocess
import sys

FORBIDDEN = (
    "requests",
    "httpx",
    "aiohttp",
    "psycopg",
    "confluent_kafka",
    "socket",
    "control_room.tracking",
    "control_room.stack",
    "textual",
)


def test_the_checker_loads_nothing_that_touches_a_network():
    code = f"import sys, control_room.verify; print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
