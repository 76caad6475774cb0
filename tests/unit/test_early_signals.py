"""A service that is told to end while it still loads ends in order, without a traceback."""

import signal
import subprocess
import sys

import pytest

SERVICES = ("dispatcher", "ingestion_api", "merchant_server", "outbox_publisher")
_SIGNALLED_WHILE_LOADING = """
import builtins, os, runpy, signal, sys
real = builtins.__import__
def loading(name, *rest, **more):
    if name == "services.{service}.main":
        os.kill(os.getpid(), {number})
    return real(name, *rest, **more)
builtins.__import__ = loading
runpy.run_module("services.{service}", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("service", SERVICES)
def test_a_signal_while_the_modules_load_ends_the_service_with_0_and_without_a_traceback(service, number):
    program = _SIGNALLED_WHILE_LOADING.format(service=service, number=int(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
