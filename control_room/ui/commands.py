"""The one table of commands: key bindings, footer, palette, help and the command line shown with an action.

A command is done by the method `do_<id>` of the view that it belongs to, else by that of the app.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from control_room.ui.command import Command as Command  # as everybody asks for it here
from control_room.ui.widget_commands import FIXED, OF_WIDGETS

VIEWS: Final[Mapping[str, str]] = {
    "stack": "Stack",
    "transactions": "Transactions",
    "kafka": "Kafka",
    "chaos": "Chaos",
    "replay": "Replay",
    "reports": "Reports",
    "logs": "Logs",
}
"""By id, in the order of their numbers."""


def _views() -> list[Command]:
    return [
        Command(f"view_{view}", str(number), title, f"Show the view {title}.")
        for number, (view, title) in enumerate(VIEWS.items(), 1)
    ]


TABLE: Final[tuple[Command, ...]] = (
    Command("help", "question_mark", "help", "This page.", footer=True),
    Command("palette", "colon", "command", "Find a command by its name.", footer=True),
    *_views(),
    # Stack
    Command("up", "u", "up", "Start the stack, and wait until every member is ready.", "stack", "up", True, True),
    Command(
        "demo",
        "d",
        "demo",
        "Start, replay, kill, heal, drain, prove: all by itself.",
        "stack",
        "demo --keep",
        True,
        True,
    ),
    Command(
        "down", "D", "down", "Stop every member of the stack; data and runs are kept.", "stack", "down", True, True
    ),
    Command(
        "start", "S", "start", "Start the selected or marked members.", "stack", "chaos start {members}", False, True
    ),
    Command(
        "stop",
        "s",
        "stop",
        "End the selected or marked members in order; they stay down.",
        "stack",
        "chaos stop {members}",
        True,
        True,
    ),
    Command("restart", "r", "restart", "A clean stop, then a start.", "stack", "chaos restart {members}", True, True),
    Command(
        "kill",
        "K",
        "kill",
        "kill -9 the selected or marked members; they stay down until started or healed.",
        "stack",
        "chaos kill {members}",
        False,
        True,
    ),
    Command(
        "crash",
        "c",
        "crash",
        "kill -9 the selected or marked members, all at once; they come back by themselves.",
        "stack",
        "chaos crash {members}",
        False,
        True,
    ),
    Command(
        "freeze",
        "Z",
        "freeze",
        "Freeze the selected or marked members, or thaw them where they are frozen.",
        "stack",
        "chaos freeze {members}",
        False,
        True,
    ),
    Command(
        "fault",
        "x",
        "fault",
        "Every fault that the selected member can have, with what it will hit.",
        "stack",
        "",
        True,
        True,
    ),
    Command("logs_of", "l", "logs", "The logs of the selected or marked members.", "stack", "logs {members}", True),
    # Transactions
    Command(
        "filter",
        "slash",
        "filter",
        "Filter the list: state:retrying try>2 age>10s http:500 a word.",
        "transactions",
        "",
        True,
    ),
    Command(
        "timeline",
        "enter",
        "whole story",
        "The timeline of the selected transaction, the faults that fell into it, its payload and signed headers.",
        "transactions",
        "event {id}",
        True,
    ),
    Command(
        "follow", "f", "follow/hold", "Let new ones push the list on, or hold it as it is.", "transactions", "", True
    ),
    Command("order", "o", "order", "Newest, oldest undelivered or most attempts first.", "transactions", "", True),
    Command(
        "jump",
        "J",
        "jump to id",
        "Show the transaction with an id, or its first characters.",
        "transactions",
        "event ID",
        True,
    ),
    Command(
        "redeliver",
        "R",
        "redeliver",
        "Have the selected or marked transactions delivered to the merchant once more, after a question.",
        "transactions",
        "redeliver {ids}",
        True,
        True,
    ),
    Command(
        "redeliver_shown",
        "ctrl+r",
        "redeliver all shown",
        "Have all that the filter shows delivered to the merchant once more, after a question.",
        "transactions",
        "redeliver --filter EXPR",
        False,
        True,
    ),
    Command("copy_id", "y", "copy id", "Copy the whole id.", "transactions"),
    Command("export_list", "e", "export", "Write what the filter shows as a CSV file.", "transactions", "", True),
    # Chaos
    Command("arm", "exclamation_mark", "arm", "Arm, or disarm: nothing is broken from here before.", "chaos", "", True),
    Command(
        "apply",
        "enter",
        "apply",
        "Apply the selected fault, after a question.",
        "chaos",
        "chaos {fault} {members}",
        True,
        True,
    ),
    Command("merchant", "m", "merchant", "Change how the merchant behaves.", "chaos", "chaos merchant", True, True),
    Command("scenario", "s", "scenario", "Run a scenario to its verdict.", "chaos", "scenario run NAME", True, True),
    Command("storm", "w", "storm", "Faults in an order that a seed decides.", "chaos", "storm", True, True),
    Command("steps", "L", "steps", "Show the steps of the scenario that ran last, or hide them.", "chaos", "", True),
    # Replay
    Command("replay_start", "enter", "start", "Send the chosen file.", "replay", "replay FILE", True, True),
    Command(
        "replay_preview",
        "v",
        "preview",
        "Read the file and check it; send nothing.",
        "replay",
        "replay FILE --dry-run",
        True,
    ),
    Command("replay_file", "o", "file", "Choose the CSV file.", "replay", "", True),
    Command("replay_rate", "r", "rate", "Payments a second; empty: as fast as answers come.", "replay", "", True),
    Command(
        "replay_speed",
        "x",
        "speed",
        "So many times faster than the file's own times, while it goes on too.",
        "replay",
        "replay FILE --speed X",
        True,
    ),
    Command("replay_max", "m", "how many", "Send at most so many; empty: all.", "replay", "", True),
    Command("replay_ids", "i", "ids", "The file's own ids, or fresh ones.", "replay", "", True),
    Command(
        "replay_pause", "p", "pause", "Stop sending for now, or go on.", "replay", "replay --resume RUN", True, True
    ),
    Command("replay_stop", "s", "stop", "End the replay in order.", "replay", "", True, True),
    # Reports
    Command(
        "open_run",
        "enter",
        "open",
        "The verdict of the selected run, with its faults, classes and curves.",
        "reports",
        "",
        True,
    ),
    Command(
        "verify",
        "v",
        "verify",
        "Wait for the drain, gather the evidence, give the verdict.",
        "reports",
        "verify {run}",
        True,
        True,
    ),
    Command(
        "check",
        "c",
        "check",
        "Give the verdict again from the run's files alone.",
        "reports",
        "check {run}",
        True,
        True,
    ),
    Command(
        "export",
        "e",
        "export",
        "Write the run's reports: HTML, Markdown, JUnit, CSV, JSON.",
        "reports",
        "report {run}",
        True,
        True,
    ),
    Command(
        "compare",
        "m",
        "compare",
        "Compare the selected run with the one marked.",
        "reports",
        "report --compare {runs}",
        True,
    ),
    Command(
        "remove_run",
        "d,delete",
        "delete",
        "Delete the selected or marked runs for good, after a question; never one that is still running.",
        "reports",
        "runs rm {run}",
        False,
        True,
    ),
    # Logs
    Command("log_search", "slash", "search", "Find words in all lines shown.", "logs", "logs --grep WORDS", True),
    Command("log_next", "n", "next", "The next line that has them.", "logs", "", True),
    Command("log_previous", "N", "previous", "The one before.", "logs", "", True),
    Command("log_regex", "x", "regex", "Search for words, or for a regular expression.", "logs", "", True),
    Command("log_members", "m", "members", "Choose whose lines are shown, by marking.", "logs", "logs {members}", True),
    Command("log_level", "v", "level", "From which level on lines are shown.", "logs", "", True),
    Command("log_follow", "f", "follow", "Stay at the newest line.", "logs", "logs --follow", True),
    Command("log_transaction", "enter", "transaction", "The transaction that the line speaks of.", "logs", "", True),
    # Everywhere
    Command("heal", "H", "heal all", "Undo every open fault.", "", "heal", True, True),
    Command("replay", "P", "replay", "To the view that replays a CSV file.", "", "replay", True),
    Command(
        "activity", "A", "activity", "Everything that was done, with its command line and its error.", "", "", True
    ),
    Command("cancel", "C", "cancel", "Cancel the newest action that is still running.", "", ""),
    Command("freeze_drawing", "F", "freeze", "Stop drawing; gathering goes on.", "", ""),
    Command("zoom", "z", "zoom", "Give the view the whole screen, or not.", "", ""),
    Command("tour", "T", "tour", "A guided tour: what to press, ticked off when it is seen; or leave it.", "", "tour"),
    Command("theme", "f9", "theme", "Choose the colours, from now on.", "", "config set theme {theme}"),
    Command("picture", "f8", "picture", "Write the screen as an SVG picture.", "", ""),
    Command("quit", "q", "quit", "Leave; asks what becomes of the stack.", "", "", True),
    *OF_WIDGETS,
)


def commands_of(view: str, table: Iterable[Command] = TABLE) -> list[Command]:
    """What can be done while `view` is shown: its own first."""
    chosen = list(table)
    return [each for each in chosen if each.view == view] + [each for each in chosen if not each.view]


def command_for(key: str, view: str, table: Iterable[Command] = TABLE) -> Command | None:
    """The command of a key while `view` is shown."""
    return next((each for each in commands_of(view, table) if key in each.keys), None)


def hint(text: str, table: Iterable[Command] = TABLE) -> str:
    """`text` with the key of a command in place of its id in braces: `{quit} leaves`."""
    return text.format_map({each.id: each.shown_key for each in table})


def with_keys(keys: Mapping[str, str], table: Iterable[Command] = TABLE) -> tuple[Command, ...]:
    """The table with other keys, by command id.

    Raises:
        ValueError: no such command, two commands for one key, or a command with a key that moves in lists.
    """
    chosen = tuple(replace(each, key=keys.get(each.id, each.key)) for each in table)
    if unknown := set(keys) - {each.id for each in chosen}:
        known = ", ".join(each.id for each in chosen)
        raise ValueError(f"there is no command {', '.join(sorted(unknown))}; the commands are {known}")
    moving = [each for each in chosen if each.view == "list"]
    _check_keys([*moving, *(each for each in chosen if each.view == "dialog")], FIXED, "lists and dialogs")
    fixed = FIXED | {key for each in moving for key in each.keys}
    for view, title in VIEWS.items():
        _check_keys(commands_of(view, chosen), fixed, f"the view {title}")
    return chosen


def _check_keys(commands: Iterable[Command], fixed: Collection[str], where: str) -> None:
    """Raises ValueError: a key of `fixed`, or one for two commands."""
    taken: dict[str, str] = {}
    for command in commands:
        for key in command.keys:
            if key in fixed:
                raise ValueError(f"key {key} cannot be {command.id}: it moves within lists, or ends the app")
            if key in taken:
                raise ValueError(f"key {key} is both {taken[key]} and {command.id} in {where}")
            taken[key] = command.id
