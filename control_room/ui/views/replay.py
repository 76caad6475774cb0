"""Replaying a CSV file: which one, how fast, what is wrong with it, how it goes, how it was answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.widgets import ProgressBar

import dataset
from control_room.replay.errors import OptionsError
from control_room.replay.options import ReplayOptions, new_seed
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.dialogs import Page, Prompt
from control_room.ui.file_picker import FilePicker, known_files
from control_room.ui.jobs import Job
from control_room.ui.views.base import View
from control_room.ui.widgets.chrome import duration, short_path
from control_room.ui.widgets.side import Block, Pieces
from control_room.ui.widgets.spark import spark

if TYPE_CHECKING:  # the values are drawn; what reads them is not loaded for it
    from control_room.replay.progress import Progress
    from control_room.replay.survey import Survey
    from control_room.runs.background import BackgroundReplay

DEFAULT_RATE_PER_S: Final = 50.0
LOW: Final = 26
"""Lines of a terminal below which the keys make room, while something is sent: else the second curve is not seen."""
_UNREAD: Final = "What was sent is being read."


class ReplayView(View):
    """View 5."""

    NAME = "replay"

    def __init__(self) -> None:
        super().__init__()
        self.options = ReplayOptions(dataset.PAYMENTS, rate_per_s=DEFAULT_RATE_PER_S, ids="fresh")
        self._job: Job | None = None
        self._run: str | None = None
        self._paused = False

    def content(self) -> ComposeResult:
        """What is to be sent, how it goes, the answers."""
        for name, title in (("what", "What"), ("how", "How it goes"), ("answers", "Answers"), ("curve", "Curves")):
            block = Block(id=f"replay-{name}")
            block.border_title = title
            yield block
            if name == "how":
                # With a total: one that knows of none moves fifteen times a second, hidden or not.
                yield ProgressBar(total=1, id="replay-bar", show_eta=False)

    def draw(self, snapshot: Snapshot) -> None:
        """Draws the options and the progress."""
        progress = self.room.desk.progress
        crowded = progress is not None and self.app.size.height < LOW
        self.query_one("#replay-what", Block).say(*self._what(with_keys=not crowded))
        bar = self.query_one("#replay-bar", ProgressBar)
        bar.display = progress is not None
        if progress is None:
            words = "{replay_start} sends it" if snapshot.is_up else "no stack is up: {view_stack} then {up} starts it"
            ready = self.hint(words)
            self.query_one("#replay-how", Block).say((ready or _UNREAD, "bold"))
            for name in ("answers", "curve"):
                self.query_one(f"#replay-{name}", Block).say(("nothing was sent yet" if ready else "", "$text-muted"))
            return
        self._run = progress.run_id
        bar.update(total=progress.expected or None, progress=progress.payments + progress.skipped)
        self.query_one("#replay-how", Block).say(
            *_how(progress, self.hint("paused: {replay_pause} goes on") if self._paused else "")
        )
        self.query_one("#replay-answers", Block).say(*_answers(progress))
        self.query_one("#replay-curve", Block).say(
            ("per second ", ""),
            (f"{progress.rate_per_s:>7.0f} {spark(progress.rates_per_s, 50)}\n", "$text-accent"),
            ("p95, ms    ", ""),
            (f"{progress.p95_s * 1000:>7.0f} {spark(progress.p95s_s, 50)}", "$text-accent"),
        )

    def _what(self, *, with_keys: bool) -> Pieces:
        options = self.options
        rate = f"{options.rate_per_s:g} a second" if options.rate_per_s else "as fast as answers come"
        rate = f"{options.speed:g} times as fast as in the file" if options.speed else rate
        many = "all" if options.max_payments is None else f"at most {options.max_payments:,}"
        keys = self.hint(
            "{replay_file} file · {replay_max} how many · {replay_rate} rate · {replay_speed} speed"
            " · {replay_ids} ids · {replay_preview} preview"
        )
        return [
            (f"{harmless(short_path(options.source), 300)}\n", "bold"),
            (f"{many} · {rate} · ids {options.ids}", ""),
            (f"\n{keys}" if keys and with_keys else "", "$text-muted"),  # of a run that is over nothing is chosen
        ]

    @property
    def command(self) -> str:
        """The same on a command line."""
        options = self.options
        words = ["replay", short_path(options.source)]
        words += ["--rate", f"{options.rate_per_s:g}"] if options.rate_per_s else []
        words += ["--speed", f"{options.speed:g}"] if options.speed else []
        words += ["--max", str(options.max_payments)] if options.max_payments is not None else []
        return " ".join([*words, "--ids", options.ids])

    def do_replay_start(self) -> None:
        """Sends."""
        replay = self.room.desk.replay
        if (replay is not None and replay.running) or (self._job is not None and self._job.ended_at_s is None):
            words = self.hint("a replay is going on: {replay_pause} pauses it, {replay_stop} ends it")
            self.room.notify(words, severity="warning")
            return
        options = replace(self.options, seed=new_seed())
        self._paused = False
        self._send(self.command, lambda job: self.room.desk.send(job, options))

    def _send(self, command: str, work: object) -> None:
        self._job = self.room.run_job("replay", command, work)  # type: ignore[arg-type]  # a Work; see the callers

    def do_replay_pause(self) -> None:
        """Ends the sending in order, or goes on with the same run."""
        replay = self.room.desk.replay
        if replay is not None and replay.running and self._job is not None:
            self._paused = True
            self._job.cancel()
        elif self._paused and self._run is not None:
            run = self._run
            self._paused = False
            self._send(f"replay --resume {run}", lambda job: self.room.desk.send(job, None, run))
        else:
            self.room.notify("nothing is being sent")

    def do_replay_stop(self) -> None:
        """Ends it."""
        self._paused = False
        if self._job is not None and self._job.ended_at_s is None:
            self._job.cancel()
        else:
            self.room.notify("nothing is being sent")

    def do_replay_preview(self) -> None:
        """Reads the file, marks its bad rows."""
        options = self.options

        def told(job: Job) -> None:
            if job.result is not None:
                self.room.push_screen(Page(f"Preview of {options.source.name}", survey_lines(job.result)))

        self.room.run_job("preview", f"{self.command} --dry-run", lambda _: self.room.desk.survey(options), told)

    def do_replay_file(self) -> None:
        """Asks for the file: one that was sent lately, the dataset, or out of a tree."""
        runs = [run.path for run in self.snapshot.runs.value or ()]

        def given(path: Path | None) -> None:
            if path is not None:
                self.options = replace(self.options, source=path)

        picker = FilePicker(self.options.source, Path.cwd())
        self.room.push_screen(picker, given)
        self.room.read(lambda: known_files(runs), picker.know)

    def do_replay_rate(self) -> None:
        """Asks for the rate; a replay that is going on changes over to it."""

        def given(text: str | None) -> None:
            if text is not None:
                rate = float(text) if text.strip() else None
                self.options = replace(self.options, rate_per_s=rate, speed=None)
                self._change(lambda replay: replay.change_rate(rate) if rate is not None else None)

        now = f"{self.options.rate_per_s:g}" if self.options.rate_per_s else ""
        hint = "empty: as fast as answers come"
        self.room.push_screen(Prompt("Payments a second", now, hint, self._fits(rate=True)), given)

    def do_replay_speed(self) -> None:
        """Asks for the speed; a replay in the file's own time changes over to it."""

        def given(text: str | None) -> None:
            if text is not None:
                speed = float(text) if text.strip() else None
                self.options = replace(self.options, speed=speed, rate_per_s=None)
                self._change(lambda replay: replay.change_speed(speed) if speed is not None else None)

        now = f"{self.options.speed:g}" if self.options.speed else ""
        hint = "1: as in the file; 60: a minute of it in a second; empty: as fast as answers come"
        self.room.push_screen(
            Prompt("The file's own gaps, so many times faster", now, hint, self._fits(rate=False)), given
        )

    def _change(self, change: Callable[[BackgroundReplay], None]) -> None:
        """The pace of the replay that goes on; one that leaves by another clock keeps it, and that is said."""
        self.room.draw()
        replay = self.room.desk.replay
        if replay is None or not replay.running:
            return
        try:
            change(replay)
        except OptionsError as error:
            self.room.notify(f"the replay that goes on keeps its pace: {error}; the next one takes this", markup=False)

    def _fits(self, *, rate: bool) -> Callable[[str], None]:
        def check(text: str) -> None:
            try:
                pace = float(text) if text.strip() else None
                replace(self.options, rate_per_s=pace if rate else None, speed=None if rate else pace)
            except OptionsError as error:
                raise ValueError(str(error)) from error

        return check

    def do_replay_max(self) -> None:
        """Asks how many."""

        def check(text: str) -> None:
            if text.strip() and (not text.strip().isdigit() or int(text) < 1):
                raise ValueError("a whole number from 1 on, or nothing for all")

        def given(text: str | None) -> None:
            if text is not None:
                self.options = replace(self.options, max_payments=int(text) if text.strip() else None)

        now = str(self.options.max_payments or "")
        self.room.push_screen(Prompt("How many payments", now, "empty: all of the file", check), given)

    def do_replay_ids(self) -> None:
        """The other kind of ids."""
        self.options = replace(self.options, ids="fresh" if self.options.ids == "file" else "file")


def survey_lines(found: Survey) -> list[str]:
    """What a preview tells."""
    lines = [f"{found.payments:,} payments would be sent, {found.bad_rows:,} bad rows would not."]
    lines += [f"✗ line {row.line}: {'; '.join(row.reasons)}" for row in found.bad_row_examples]
    if found.ignored_columns:
        lines.append(f"columns that are not sent: {', '.join(found.ignored_columns)}")
    if found.scheduled_s is not None:
        lines.append(f"The last one would leave {found.scheduled_s:.1f} s after the first.")
    if found.first is not None:
        lines += ["", "The first, as it would be sent:", found.first.body.decode("utf-8", "replace")]
    return lines


def _how(progress: Progress, paused: str) -> Pieces:
    state, style = ("running", "bold $text-accent")
    if progress.ended:
        state, style = (paused, "bold $text-warning") if paused else ("ended", "bold $text-success")
    eta = "" if progress.eta_s is None else f" · {duration(progress.eta_s)} to go"
    of = "" if progress.expected is None else f" of {progress.expected:,}"
    return [
        (f"{state} ", style),
        (f"run {harmless(progress.run_id, 60)}\n", ""),
        (
            f"sent {progress.payments:,}{of} · in flight {progress.in_flight:,}"
            f" · {duration(progress.elapsed_s)}{eta}\n",
            "",
        ),
        (f"skipped {progress.skipped:,} · bad rows {progress.bad_rows:,}", "$text-muted"),
        *((f"\n{harmless(example, 200)}", "$text-warning") for example in progress.bad_row_examples[:3]),
    ]


def _answers(progress: Progress) -> Pieces:
    pieces: Pieces = [(f"201 ×{progress.accepted:,}", "$text-success")]
    pieces.append((f" (of these {progress.duplicates:,} known already)" if progress.duplicates else "", ""))
    pieces += [(f"  {status} ×{count:,}", "$text-error") for status, count in sorted(progress.refused.items())]
    pieces += [(f"  {harmless(why, 60)} ×{count:,}", "$text-warning") for why, count in progress.unanswered.items()]
    times = (
        f"p50 {_ms(progress.p50_s)}   p95 {_ms(progress.p95_s)}   p99 {_ms(progress.p99_s)}   max {_ms(progress.max_s)}"
    )
    pieces.append((f"\n{times}", ""))
    pieces += [(f"\n{harmless(example, 200)}", "$text-error") for example in progress.refusal_examples[:3]]
    return pieces


def _ms(value_s: float) -> str:
    return f"{value_s * 1000:,.0f} ms"
