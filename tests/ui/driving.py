"""Driving the app in tests: a source of made-up snapshots, a desk that notes what it is asked, the screen as text."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from pathlib import Path

from control_room.reports.contents import gather_contents
from control_room.runs.remove import Size
from control_room.tracking.timeline import Attempt, Timeline, TimelineEvent
from control_room.tracking.webhook import webhook_of
from control_room.ui.app import ControlRoom
from services.common.signing import Secrets
from tests.ui.moments import HEALTHY, NOW_S

SECRET = "0123456789abcdef0123456789abcdef"
WEBHOOK = webhook_of(
    "http://127.0.0.1:5001/webhook_listener",
    "4d3db980-0000-4000-8000-000000000001",
    b'{"Receiver Name": "\\u001b[31m \\u202e", "Status": "SUCCESS"}',
    [Attempt(NOW_S + 0.02, 1, 1, 41.0, 500, None, "dispatcher\x1b[31m", 1, 4411, NOW_S + 2)],
    (),
    Secrets.parse(SECRET),
)
SIZES = {"80x24": (80, 24), "120x34": (120, 34), "160x48": (160, 48)}


class Source:
    def __init__(self, snapshot):
        self.now = snapshot
        self.asked = []

    def snapshot(self):
        return self.now

    def ask(self, query):
        self.asked.append(query)

    def hurry(self, *names):
        pass


class FakeDesk:
    """Notes every call; `stuck` makes each wait for `release`, `error` makes each raise."""

    def __init__(self):
        self.state_dir = Path("/state")
        self.replay = None
        self.calls = []
        self.error = None
        self.impossible = {}
        self.verdict = None
        self.events = []
        self.stuck = False
        self.release = threading.Event()

    @property
    def progress(self):
        return self.replay.progress if self.replay is not None else None

    def _note(self, *call):
        self.calls.append(call)
        if self.stuck:
            self.release.wait(30)
        if self.error is not None:
            raise self.error

    def up(self, job):
        job.tell("3 of 11 ready; waiting for kafka files")
        self._note("up")

    def down(self, job):
        self._note("down")

    def preview(self, fault, target, params):
        self._note("preview", fault, target)
        return f"{fault} {target}: leads 1 of 3 partitions, in-sync 3→2, minimum 2: writes go on"

    def apply(self, job, fault, targets, params, for_s=None):
        self._note("apply", fault, tuple(targets), dict(params), *([] if for_s is None else [for_s]))

    def unavailable(self):
        return dict(self.impossible)

    def heal(self, job, numbers=None):
        self._note("heal", numbers)

    def survey(self, options):
        self._note("survey", options)

    def send(self, job, options, resume=None):
        self._note("send", options, resume)
        return Path("/state/runs/x")

    def verify(self, job, run):
        self._note("verify", run)

    def check(self, run):
        self._note("check", run)
        return self.verdict

    def curves(self, run, verdict):
        return gather_contents(run, verdict).curves

    def size(self, run):
        return Size(14, 3 * 2**20, judged=False)

    def remove(self, run):
        self._note("remove", run)
        return self.size(run)

    def export(self, run):
        self._note("export", run)
        return [run / "report.html", run / "deliveries.csv"]

    def compare(self, one, other):
        self._note("compare", one, other)
        return "| a | b |"

    def demo(self, job):
        self._note("demo")

    def scenario(self, job, scenario, seed=None, on_step=lambda event: None):
        for event in self.events:
            on_step(event)
        self._note("scenario", scenario.name, seed)

    def story(self, transaction_id):
        self._note("story", transaction_id)
        events = (
            TimelineEvent(NOW_S, "accepted", "ingestion-api-2", "₹3,907.34 SUCCESS"),
            TimelineEvent(
                NOW_S + 0.02, "attempt", "dispatcher", "500 in 41 ms, wait 2.0 s", 20.0, {"round": 1, "attempt": 1}
            ),
        )
        return Timeline(transaction_id, None, events, (), WEBHOOK)

    def redeliver(self, job, ids, reason):
        self._note("redeliver", tuple(ids), reason)

    def find(self, text):
        self._note("find", text)
        return HEALTHY.transactions.value.rows[-1]


@asynccontextmanager
async def driving(snapshot=HEALTHY, size=(80, 24), desk=None, **options):
    source, desk = Source(snapshot), desk or FakeDesk()
    app = ControlRoom(source, lambda: desk, **options)
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_running and app.complete and app.snapshot is source.now, 60)
        yield pilot, app, source, desk


async def wait_for(pilot, condition, deadline_s=10.0):
    until = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < until, "the condition did not come true in time"
        await pilot.pause(0.02)
    await pilot.pause()


def screen_text(app):
    """The screen as a grid of characters. The compositor is private; there is no public way to the text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)
