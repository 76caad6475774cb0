"""The loop's look at the consumer thread: what ends the process, and what does not."""

import asyncio
import time

from services.dispatcher.standstill import Standstill


class Thread:
    """Rounds as a consumer thread counts them: it goes round between any two looks, or it stands."""

    def __init__(self, goes):
        self.goes = goes
        self.looks = self.count = 0

    def rounds(self):
        self.looks += 1
        self.count += self.goes(self.looks)
        return self.count


async def watched(thread, looks):
    """What was said until the thread was looked at that often, or the process was to end."""
    said, over = [], asyncio.Event()

    def rounds():
        if thread.looks >= looks:
            over.set()
        return thread.rounds()

    def fatal(sentence):
        said.append(sentence)
        over.set()

    standstill = Standstill(asyncio.get_running_loop(), rounds, fatal, limit_s=0.05, look_s=0.01)
    async with asyncio.timeout(20):
        await over.wait()
    standstill.stop()
    return said


async def test_a_consumer_thread_that_stands_ends_the_process_with_a_sentence():
    thread = Thread(lambda looks: looks <= 3)
    (sentence,) = await watched(thread, 100)
    assert "consumer's thread has stood still" in sentence
    assert thread.looks == 3 + 5


async def test_a_thread_that_goes_round_now_and_then_ends_nothing():
    assert await watched(Thread(lambda looks: looks % 5 == 0), 40) == []


async def test_time_in_which_the_whole_process_was_frozen_is_no_standstill():
    """A look that comes late counts as one look, however late it is."""

    def goes(looks):
        if looks == 3:
            asyncio.get_running_loop().call_soon(time.sleep, 0.2)
        return looks != 4

    assert await watched(Thread(goes), 12) == []
