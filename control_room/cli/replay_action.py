"""What `replay` does."""

from __future__ import annotations

import os
from pathlib import Path

import click

from control_room import exit_codes
from control_room.cli.context import Stop, narrate, print_json
from control_room.cli.live_line import LiveLine
from control_room.cli.replay_text import done, end_sentences, live_text, survey_json, survey_sentences, to_json
from control_room.replay.options import ReplayOptions
from control_room.replay.progress import Progress
from control_room.replay.replay import Replay, prepare, run_replay
from control_room.replay.run_folder import RunFolder, open_run
from control_room.replay.survey import survey
from control_room.runs.begin import begin_run
from control_room.runs.folders import find_run
from control_room.runs.recording import recorded
from control_room.stack.runtime import NotRunningError, Runtime
from services.common import garbage
from services.common.signing import Secrets


def resumed(runs_dir: Path, given: str) -> RunFolder:
    """The run to go on with. Raises NoRunError or ReplayError."""
    return open_run(find_run(runs_dir, given))


def dry(options: ReplayOptions, as_json: bool) -> None:
    """Reads the file and tells what would be sent. Raises ReplayError."""
    found = survey(options)
    if as_json:
        print_json(survey_json(found))
        return
    for sentence in survey_sentences(found):
        click.echo(sentence)


def begin(runtime: Runtime, options: ReplayOptions, runs_dir: Path, url: str | None) -> RunFolder:
    """The run's folder. An API elsewhere may have no stack here: then the run has a log, and no verdict can follow."""
    try:
        endpoints = runtime.endpoints()
    except NotRunningError:
        if url is None:
            raise
        narrate("no stack is up here, so this run can be sent but not verified")
        return prepare(options, runs_dir, ledger_from=0, api_url=url)
    if not endpoints.merchant_url:
        narrate("no merchant's ledger is configured: the verdict on this run will be UNKNOWN")
    return begin_run(endpoints, options, runs_dir)


def run(runtime: Runtime, state_dir: Path, folder: RunFolder, url: str | None, resume: bool) -> Progress:
    """Sends everything, with a live line, and records it. Raises ReplayError, SecretError or NotRunningError."""
    given = os.environ.get("HMAC_SECRET", "") if url is not None else ""
    secrets = Secrets.parse(given or runtime.secret())
    with LiveLine() as line:

        def show(progress: Progress) -> None:
            line.show(live_text(progress), done(progress))

        line.say(f"run {folder.run_id}: sending {folder.options.source}")
        sending = Replay(folder, url or runtime.endpoints().api_url, secrets, on_progress=show, resume=resume)
        garbage.search_rarely()
        with recorded(runtime, state_dir, folder.path):
            return run_replay(sending)


def leave(summary: Progress, folder: RunFolder, as_json: bool) -> None:
    """Tells how it ended; ends the verb with the exit code that says so."""
    for sentence in end_sentences(summary, folder.path):
        narrate(sentence)
    if as_json:
        print_json(to_json(summary, folder.path))
    trouble = {"refused": sum(summary.refused.values()), "without an answer": summary.gave_up}
    told = ", ".join(f"{count} {what}" for what, count in trouble.items() if count)
    if summary.interrupted:
        raise Stop(f"interrupted; go on with: bruce-control replay --resume {summary.run_id}", exit_codes.INTERRUPTED)
    if summary.gave_up and not summary.answered:
        raise Stop("nothing answered; look at: bruce-control status", exit_codes.UNREACHABLE)
    if told:
        raise Stop(told, exit_codes.FAILED)
