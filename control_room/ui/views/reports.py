"""The runs: verdict, size, faults; open one, judge it, export it, compare two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.dialogs import Page
from control_room.ui.jobs import Job
from control_room.ui.run_curves import curve_lines
from control_room.ui.views.base import View, stale
from control_room.ui.widgets.chrome import clock, short_path
from control_room.ui.widgets.line_list import Cell, Column, LineList
from control_room.ui.widgets.side import Block, Pieces

if TYPE_CHECKING:  # the values are drawn; what reads them is not loaded for it
    from control_room.tracking.runs import RunSummary
    from control_room.verify import Verdict

_LOOKS = {
    "proven": ("✓ PROVEN", "good"),
    "late": ("… LATE", "warn"),
    "invalid": ("✗ INVALID", "bad"),
    "unknown": ("? UNKNOWN", "info"),
    "judging": ("… judging", "info"),
    "open": ("… open", "dim"),
}


class ReportsView(View):
    """View 6."""

    NAME = "reports"
    DEFAULT_CSS = """
    ReportsView #runs { height: 2fr; min-height: 6; }
    ReportsView #run { height: auto; max-height: 50%; }
    """

    def content(self) -> ComposeResult:
        """The list, and the one under the cursor."""
        columns: list[Column[RunSummary]] = [
            Column("VERDICT", 10, lambda run: _LOOKS.get(run.verdict, (run.verdict, "info"))),
            Column("BEGAN", 8, lambda run: clock(run.at_s)),
            Column("ACCEPTED", 8, _count("accepted"), right=True),
            Column("DELIVERED", 9, _count("delivered"), right=True),
            Column("FAULTS", 6, lambda run: str(run.faults or "-"), right=True),
            Column("WHAT", 10, lambda run: run.what, grows=True),
            Column("RUN", 22, lambda run: (run.run_id, "dim"), from_width=78),
        ]
        runs: LineList[RunSummary] = LineList(
            columns,
            lambda run: run.run_id,
            id="runs",
            empty=self.hint("no run yet: {replay} replays a CSV file, the demo makes one too"),
            marks=True,
        )
        runs.add_class("pane")
        yield runs
        block = Block(id="run")
        block.border_title = "Run"
        yield block

    def draw(self, snapshot: Snapshot) -> None:
        """The list and the selected one."""
        runs = self.query_one("#runs", LineList)
        part = snapshot.runs
        runs.border_title = f"Runs {len(part.value or ())}"
        acts = "{verify} verify · {check} check · {export} export · {remove_run} delete"
        keys = self.hint(f"{acts} · {{list_mark}} marks, {{compare}} compares")
        runs.border_subtitle = stale(part).replace("[", "(") or keys
        runs.show(part.value or ())
        run = runs.current
        self.query_one("#run", Block).say(*(_told(run) if run is not None else [("-", "")]))

    def _current(self) -> RunSummary | None:
        runs: LineList[RunSummary] = self.query_one("#runs", LineList)
        return runs.current

    def do_open_run(self) -> None:
        """Its verdict and its curves, from its files."""
        run = self._current()
        if run is None:
            return

        def read(_: Job) -> list[str]:
            verdict = self.room.desk.check(run.path)
            return [*self._summary(run, verdict), "", *self._curves(run, verdict)]

        def told(job: Job) -> None:
            if job.result is not None:
                self.room.push_screen(Page(f"Run {run.run_id}", job.result))

        self.room.run_job(f"open {run.run_id}", f"check {run.run_id}", read, told)

    def _summary(self, run: RunSummary, verdict: Verdict) -> list[str]:
        from control_room.verify import summary  # when a run is opened

        return summary(verdict, short_path(run.path)).splitlines()

    def _curves(self, run: RunSummary, verdict: Verdict) -> list[str]:
        """Failure policy: open. A verdict is told without its curves."""
        try:
            return curve_lines(self.room.desk.curves(run.path, verdict), verdict.faults)
        except (OSError, ValueError) as error:
            return [f"the curves cannot be drawn: {error}"]

    def do_check(self) -> None:
        """The verdict again, offline."""
        run = self._current()
        if run is not None:
            self._judged(run, "check", f"check {run.run_id}", lambda _: self.room.desk.check(run.path))

    def do_verify(self) -> None:
        """Drain, evidence, verdict."""
        run = self._current()
        if run is not None:
            self._judged(run, "verify", f"verify {run.run_id}", lambda job: self.room.desk.verify(job, run.path))

    def _judged(self, run: RunSummary, title: str, command: str, work: object) -> None:
        def told(job: Job) -> None:
            if job.result is not None:
                self.room.push_screen(Page(f"Run {run.run_id}", self._summary(run, job.result)))

        self.room.run_job(f"{title} {run.run_id}", command, work, told)  # type: ignore[arg-type]  # a Work

    def do_export(self) -> None:
        """Writes every report."""
        run = self._current()
        if run is None:
            return

        def work(job: Job) -> list[Path]:
            written = self.room.desk.export(run.path)
            for path in written:
                job.tell(f"wrote {short_path(path)}")
            return written

        def told(job: Job) -> None:
            if isinstance(job.result, list):
                lines = [f"{len(job.result)} files:", "", *(short_path(path) for path in job.result)]
                self.room.push_screen(Page(f"Exported {run.run_id}", lines))

        self.room.run_job(f"export {run.run_id}", f"report {run.run_id} --format jsonl", work, told)

    def do_remove_run(self) -> None:
        """Deletes the marked runs, or the selected one, after a question that says what is lost."""
        runs = self.query_one("#runs", LineList)
        chosen: list[RunSummary] = runs.chosen
        if not chosen:
            return
        names = " ".join(run.run_id for run in chosen)

        def work(job: Job) -> None:
            for run in chosen:
                job.tell(f"deleted {run.run_id}: {self.room.desk.remove(run.path)}")

        def deed(_: str) -> None:
            runs.marked.clear()
            self.room.run_job(f"delete {names}", f"runs rm {names} --yes", work)

        def asked(job: Job) -> None:
            if job.state == "done":
                count = f"{len(chosen)} runs" if len(chosen) > 1 else f"run {names}"
                said = [
                    *job.result,
                    "It can neither be opened, judged nor exported again.",
                ]
                self.room.ask(f"Delete {count}?", said, [("delete", "Delete for good")], deed)

        self.room.run_job(f"size of {names}", "runs list", lambda _: [self._loss(run) for run in chosen], asked)

    def _loss(self, run: RunSummary) -> str:
        size = self.room.desk.size(run.path)
        words = f"{run.accepted:,} payments, {run.verdict}" if size.judged else "never judged: nothing is proven of it"
        return f"{run.run_id}: {words}; {size}"

    def do_compare(self) -> None:
        """The marked one and the selected one, or the two that are marked."""
        runs = self.query_one("#runs", LineList)
        chosen: list[RunSummary] = [run for run in runs.rows if run.run_id in runs.marked]
        current = self._current()
        if len(chosen) == 1 and current is not None and current not in chosen:
            chosen.append(current)
        if len(chosen) != 2:
            self.room.notify("mark one run with space and stand on another, or mark two")
            return
        one, other = chosen

        def told(job: Job) -> None:
            if isinstance(job.result, str):
                self.room.push_screen(Page("Comparison", job.result.splitlines(), wrap=False))

        command = f"report --compare {one.run_id} {other.run_id}"
        self.room.run_job("compare", command, lambda _: self.room.desk.compare(one.path, other.path), told)


def _count(name: str):  # type: ignore[no-untyped-def]  # a cell of RunSummary
    def cell(run: RunSummary) -> Cell:
        return "-" if run.arithmetic is None else f"{getattr(run, name):,}"

    return cell


def _told(run: RunSummary) -> Pieces:
    words, tone = _LOOKS.get(run.verdict, (run.verdict, "info"))
    styles = {"good": "bold $text-success", "warn": "bold $text-warning", "bad": "bold $text-error"}
    pieces: Pieces = [(f"{words}  ", styles.get(tone, "bold")), (f"{harmless(run.run_id, 80)}\n", "")]
    if run.arithmetic is not None:
        pieces.append((f"{run.arithmetic.line()}\n", ""))
    if run.classes:
        counted = ", ".join(f"{harmless(name, 40)} {count}" for name, count in run.classes.items() if count)
        pieces.append((f"{counted}\n", "$text-muted"))
    pieces += [(f"reason: {harmless(reason, 300)}\n", "$text-warning") for reason in run.reasons[:3]]
    pieces.append((harmless(short_path(run.path), 300), "$text-muted"))
    return pieces
