"""`logs`."""

from __future__ import annotations

from pathlib import Path

import click

from control_room.cli.context import Stop, explained, json_option, runtime_of, stack_options
from control_room.exit_codes import USAGE
from control_room.stack.runtime import MEMBERS, alike
from control_room.tracking.member_logs import LogLine, follow, merged, newest


@click.command()
@click.argument("members", nargs=-1, metavar="[MEMBER]...")
@stack_options
@json_option
@click.option("-n", "--lines", type=click.IntRange(0), default=100, show_default=True, help="Newest lines per member.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with what is written from now on.")
@click.option("--grep", "words", help="Only lines that hold these words.")
def logs(
    members: tuple[str, ...],
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    lines: int,
    following: bool,
    words: str | None,
) -> None:
    """What members wrote, interleaved by time; all of them where none is named.

    With --json each line comes as the member wrote it.
    """
    chosen = members or MEMBERS
    for member in chosen:
        if alike(member) not in MEMBERS:
            raise Stop(f"There is no member {member!r}; there are: {', '.join(MEMBERS)}", USAGE)
    runtime = runtime_of(state, runtime_name)
    with explained():
        runtime.endpoints()
        paths = {member: runtime.log_paths(member) for member in chosen}

    def show(line: LogLine) -> None:
        if words is None or words in line.text:
            click.echo(line.raw if as_json else line.plain(with_member=len(chosen) > 1))

    for line in merged([newest(member, paths[member], lines) for member in chosen]):
        show(line)
    if following:
        for line in follow({member: paths[member][-1] for member in chosen if paths[member]}):
            show(line)
