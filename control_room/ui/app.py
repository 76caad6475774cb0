"""The app: the shell around the views, the table of commands put to work, and the tick that draws snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from textual.app import App, ComposeResult
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.containers import Horizontal, Vertical
from textual.widgets import ContentSwitcher, Static

from control_room.tracking.assurance import assure
from control_room.tracking.listing import Query
from control_room.tracking.snapshot import Snapshot
from control_room.ui.commands import TABLE, VIEWS, Command, command_for, commands_of, hint
from control_room.ui.deeds import Deeds
from control_room.ui.jobs import Job, Jobs, Then, Work
from control_room.ui.memory import Memory, Remembered
from control_room.ui.resting import Rest
from control_room.ui.themes import CONTRAST
from control_room.ui.tour import Tour
from control_room.ui.views.base import View
from control_room.ui.views.load import load_view
from control_room.ui.widget_commands import WIDGETS, widget_keys
from control_room.ui.widgets.activity import ActivityPane, entries
from control_room.ui.widgets.chrome import KeyLine, TabLine, TitleLine, VerdictLine
from control_room.ui.widgets.log_pane import LogPane
from control_room.ui.widgets.side import Side
from control_room.ui.widgets.tour_line import TourLine

if TYPE_CHECKING:
    from control_room.ui.desk import Desk
    from control_room.ui.views.logs import LogsView
    from control_room.ui.views.transactions import TransactionsView

TICK_S: Final = 0.25
MIN_WIDTH: Final = 80
MIN_HEIGHT: Final = 24
WIDE: Final = 150
VERY_HIGH: Final = 44
PANE_LINES: Final = 12
"""Of the logs beside the transactions: more than are seen."""


class Source(Protocol):
    """Where snapshots come from: a `tracking.watch.Watch`, or a double in tests."""

    def snapshot(self) -> Snapshot:
        """The newest; never waits."""

    def ask(self, query: Query) -> None:
        """What the list of transactions is to show."""

    def hurry(self, *names: str) -> None:
        """These parts are read again at once."""


class CommandSource(Provider):
    """The palette's commands: those of the table that can be done in the view that is shown."""

    async def discover(self) -> Hits:
        """All of them."""
        for command in self._room.commands():
            yield DiscoveryHit(command.title, partial(self._room.do, command), help=_help(command))

    async def search(self, query: str) -> Hits:
        """Those that fit."""
        matcher = self.matcher(query)
        for command in self._room.commands():
            score = max(matcher.match(command.title), matcher.match(command.help))
            if score > 0:
                yield Hit(score, command.title, partial(self._room.do, command), help=_help(command))

    @property
    def _room(self) -> ControlRoom:
        if not isinstance(self.app, ControlRoom):
            raise TypeError("the palette belongs to the control room")
        return self.app


def _help(command: Command) -> str:
    cli = f"   (bruce-control {command.cli})" if command.cli else ""
    return f"{command.shown_key}  {command.help}{cli}"


class ControlRoom(Deeds, App[int]):
    """The control room. `run` returns when it was left; nothing that it started waits for it."""

    TITLE = "bruce-control"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[Any]] = {CommandSource}
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (WIDE, "-wide")]  # noqa: RUF012 - as the base class has it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high"), (VERY_HIGH, "-very-high")]  # noqa: RUF012 - likewise

    def __init__(
        self,
        source: Source,
        desk: Callable[[], Desk],
        *,
        table: Sequence[Command] = TABLE,
        read_only: bool = False,
        theme: str = "textual-dark",
        view: str = "stack",
        memory: Memory | None = None,
        settings_file: Path | None = None,
        problems: Sequence[str] = (),
        tour: bool = False,
        painted: Callable[[], None] | None = None,
    ) -> None:
        """`view`: shown first where `memory` knows no other.

        `painted`: called once, when the first screen stands there.
        `settings_file`: where a theme that is chosen is written to; `problems`: sentences of settings that will not do.
        """
        super().__init__()
        self.register_theme(CONTRAST)
        self.theme = theme
        self.source = source
        self._make_desk = desk
        self.jobs = Jobs()
        self._reads = Jobs()
        self.table = tuple(table)
        self.read_only = read_only
        self.armed = False
        self.frozen = False
        self.tour = Tour() if tour else None
        self.settings_file = settings_file
        self._problems = tuple(problems)
        self._memory = memory
        self._painted = painted
        self._remembered, note = memory.read() if memory is not None else (Remembered(), "")
        if note:
            self.jobs.note("remembered view", note)
        self.view_name = self._remembered.view or view
        self.snapshot = Snapshot()
        self._rest = Rest()
        self._left = False
        self.complete = False
        """Whether every view is there; until then what is to be done with them waits."""
        self._waiting: list[Callable[[], object]] = []
        for key in dict.fromkeys(key for each in self.table if each.view not in WIDGETS for key in each.keys):
            self.bind(key, f"press('{key}')", show=False)

    def compose(self) -> ComposeResult:
        """The shell."""
        with Vertical(id="room"):
            yield TitleLine(id="title")
            yield VerdictLine(id="verdict")
            yield TabLine(id="tabs")
            with Horizontal(id="body"):
                yield Side(id="side")
                with Vertical(id="main"):
                    with ContentSwitcher(initial=self.view_name, id="views"):
                        yield load_view(self.view_name)()
                    yield LogPane(id="log-pane")
                    yield ActivityPane(id="activity")
            yield TourLine(id="tour")
            yield from self.below()
            yield KeyLine(id="keys")
        yield Static(id="too-small", markup=False)

    def below(self) -> ComposeResult:
        """What stands between the activity and the keys."""
        return ()

    def record_words(self) -> str:
        """Which moment is shown, where it is not now."""
        return ""

    def hint(self, text: str) -> str:
        """What a view says of its keys: `text` with keys in place of command ids in braces, see `commands.hint`."""
        return hint(text, self.table)

    def refusal(self, command: Command) -> str:
        """Why a command is not done here; empty where it is."""
        return f"{command.title}: this control room only reads" if self.read_only and command.changes else ""

    def on_mount(self) -> None:
        """Begins to draw."""
        self.set_keymap(widget_keys(self.table))
        for sentence in self._problems:
            self.jobs.note("settings", sentence)
            self.problem(sentence)
        self.view.focus_content()
        self.tick()
        self.set_interval(TICK_S, self.tick)
        if self._painted is not None:
            self.call_after_refresh(self._painted)
        self.call_after_refresh(lambda: self.run_worker(self._mount_rest(), name="views"))

    async def _mount_rest(self) -> None:
        """The views that are not seen, loaded in a thread: the screen goes on. Then what had to wait for them."""
        shown = self.view_name
        for name in VIEWS:
            if name != shown:
                view = (await asyncio.to_thread(load_view, name))()
                view.display = False
                for views in self.query("#views"):
                    await views.mount(view)
        if not self.is_running or not self.query("#logs"):
            return  # leaving already
        transactions, logs = self._two_views()
        transactions.recall(self._remembered.query)
        logs.recall(self._remembered.log_level, self._remembered.log_members)
        self.complete = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each()
        self.draw()

    def _two_views(self) -> tuple[TransactionsView, LogsView]:
        from control_room.ui.views.logs import LogsView  # loaded by now
        from control_room.ui.views.transactions import TransactionsView

        base = self.screen_stack[0]
        return base.query_one(TransactionsView), base.query_one(LogsView)

    def when_complete(self, deed: Callable[[], object]) -> None:
        """Calls `deed`: at once, or in a moment where views are still being mounted. What was pressed is not lost."""
        if self.complete:
            deed()
        else:
            self._waiting.append(deed)

    @cached_property
    def desk(self) -> Desk:
        """What acts; made, and all that it needs loaded, when it is first asked for."""
        return self._make_desk()

    @property
    def view(self) -> View:
        """The one that is shown."""
        return self.query_one(f"#{self.view_name}", View)

    def commands(self) -> list[Command]:
        """What can be done now."""
        found = commands_of(self.view_name, self.table)
        return [each for each in found if not self.refusal(each)]

    def tick(self) -> None:
        """Four times a second: jobs that ended, and the newest snapshot, drawn."""
        if self._left or not self.is_running or not self.screen_stack:
            return  # the views are being taken down, asked for or not, and what a job has found is for them
        self.jobs.settle()
        self._reads.settle()
        if not self._rest.may_look():
            return
        if not self.frozen:
            self.snapshot = self.source.snapshot()
            if self.tour is not None:
                self.tour.look(self.snapshot)
        told = (self.snapshot.told(), [(job.state, job.progress, job.lines, job.error) for job in self.jobs.all])
        if self._rest.may_draw(told):
            self.remember()
            self.draw()

    def remember(self) -> None:
        """Has written down how the app is now, where that has changed."""
        if self._memory is None or not self.complete:
            return
        transactions, logs = self._two_views()
        query = transactions.query_now
        self._memory.keep(Remembered(self.view_name, query.order.value, str(query.filter), *logs.chosen))
        if self._memory.error:
            self.jobs.note("remembered view", self._memory.error)
            self._memory = None  # once is enough

    def exit(self, *args: Any, **kwargs: Any) -> None:
        """As Textual's, and what changed last is remembered too."""
        self._left = True
        self.remember()
        super().exit(*args, **kwargs)

    def draw(self) -> None:
        """Draws what there is."""
        if not self.screen_stack or not self.screen_stack[0].query("#too-small"):
            return  # not composed yet, or leaving already
        base = self.screen_stack[0]
        width, height = self.size
        small = width < MIN_WIDTH or height < MIN_HEIGHT
        base.set_class(small, "-too-small")
        if small:
            words = f"The control room needs {MIN_WIDTH}x{MIN_HEIGHT}; this terminal is {width}x{height}."
            base.query_one("#too-small", Static).update(f"{words} {hint('{quit} leaves.', self.table)}")
            return
        snapshot = self.snapshot
        frozen = hint("FROZEN: {freeze_drawing} goes on", self.table) if self.frozen else ""
        base.query_one(TitleLine).show(
            snapshot,
            self.view_name,
            armed=self.armed,
            frozen=frozen,
            read_only=self.read_only,
            record=self.record_words(),
        )
        base.query_one(VerdictLine).show(assure(snapshot), self.record_words())
        base.query_one(TabLine).show(self.view_name)
        base.query_one(KeyLine).show([each for each in self.commands() if each.footer])
        base.query_one(ActivityPane).show_newest(entries(self.jobs.all, snapshot))
        base.set_class(self.view_name == "transactions", "-transactions")
        self._draw_logs(base.query_one(LogPane))
        base.query_one(TourLine).show(self.tour, self.table)
        side = base.query_one(Side)
        if side.display:
            side.show(snapshot)
        base.query_one(f"#{self.view_name}", View).show(snapshot)

    def _draw_logs(self, pane: LogPane) -> None:
        """What the view Logs shows, its newest lines, where there is room for them (app.tcss)."""
        if not self.complete:
            return
        if self.view_name == "transactions" and self.size.width >= WIDE and self.size.height >= VERY_HIGH:
            logs, part = self._two_views()[1], self.snapshot.logs
            pane.border_title = logs.words.replace("[", "(")
            pane.border_subtitle = self.hint("{view_logs} all of them")
            pane.empty = part.error or "no line fits"
            pane.show_newest(logs.newest(part.value, PANE_LINES) if part.value is not None else ())

    def action_press(self, key: str) -> None:
        """A key of the table."""
        command = command_for(key, self.view_name, self.table)
        if command is not None:
            self.do(command)

    def do(self, command: Command) -> None:
        """Does a command; leaving waits for no view.

        Failure policy: open. What goes wrong is shown, and the control room goes on.
        """
        if not self.complete and command.id != "quit":
            self.when_complete(partial(self.do, command))
            return
        if why := self.refusal(command):
            self.notify(why, severity="warning", markup=False)
            return
        owner = self.view if command.view else self
        try:
            getattr(owner, f"do_{command.id}")()
        except Exception as error:  # noqa: BLE001 - a command that fails must not end the control room
            self.problem(f"{command.title}: {type(error).__name__}: {error}")
        self.draw()

    def run_job(self, title: str, command: str, work: Work, then: Then | None = None) -> Job:
        """Starts an action; its error is shown when it ends, then `then` is called."""

        def ended(job: Job) -> None:
            if job.state == "failed":
                self.problem(f"{title}: {job.error}")
            self.source.hurry()
            if then is not None:
                then(job)

        return self.jobs.start(title, command, work, ended)

    def read(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        """Reads something beside the snapshots, in a thread; where that fails, it is asked for again."""
        self._reads.start("read", "", lambda _: work(), lambda job: then(job.result) if job.state == "done" else None)

    def on_tab_line_chosen(self, event: TabLine.Chosen) -> None:
        """A click on a tab."""
        self.when_complete(partial(self.show_view, event.view))

    def on_key_line_pressed(self, event: KeyLine.Pressed) -> None:
        """A click on a key."""
        self.do(event.command)

    def on_line_list_opened(self) -> None:
        """A click on the selected row does what enter does by default, whatever its key is now."""
        usual = command_for("enter", self.view_name)
        for command in self.table:
            if usual is not None and command.id == usual.id:
                self.do(command)

    def on_line_list_moved(self) -> None:
        """What depends on the cursor is drawn at once."""
        self.draw()

    def on_resize(self) -> None:
        """Drawn at once for the new size."""
        if self.is_running:
            self.call_after_refresh(self.draw)
