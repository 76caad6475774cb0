import subprocess
import sys
import threading

from services.common.lifecycle import StopFlag

# The signal comes at every moment of a beginning wait, from before it to well within it.
ROUNDS = """
import signal
from services.common.lifecycle import StopFlag

for round in range(4000):
    flag = StopFlag()
    flag.install([signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + round % 60))
    assert flag.wait(20), round
"""


def test_a_signal_that_comes_while_a_wait_begins_ends_it():
    subprocess.run([sys.executable, "-c", ROUNDS], check=True, timeout=60)


def test_everybody_who_waits_is_woken():
    flag = StopFlag()
    woken = []
    waiting = [threading.Thread(target=lambda: woken.append(flag.wait(20))) for _ in range(5)]
    for thread in waiting:
        thread.start()
    flag.set()
    for thread in waiting:
        thread.join(20)
    assert woken == [True] * 5
    assert flag.wait(0)


def test_a_wait_that_nobody_ends_says_so_after_its_time():
    flag = StopFlag()
    assert not flag.wait(0.01)
    assert not flag.is_set()
