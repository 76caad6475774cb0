"""Writing the reports of a run into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from control_room.reports.contents import gather_contents
from control_room.reports.junit import write_junit
from control_room.reports.markdown import write_markdown
from control_room.reports.page import write_page
from control_room.reports.tables import Format, require, write_tables
from control_room.verify.files import DELIVERIES
from control_room.verify.judge import check
from control_room.verify.output import write_verdict
from control_room.verify.verdict import Verdict


def write_report(run_dir: Path, verdict: Verdict | None = None) -> Path:
    """Writes report.md and report.html into the run's folder and returns the path of report.md.

    Args:
        verdict: as `check` gave it for this folder; it is asked for where not given.

    Raises:
        OSError: the folder cannot be written to.
    """
    contents = gather_contents(run_dir, verdict)
    write_page(run_dir, contents)
    return write_markdown(run_dir, contents)


def write_all(run_dir: Path, formats: Sequence[Format] = ()) -> list[Path]:
    """Judges the run's files anew and writes every report into its folder: what a person opens first comes first.

    Args:
        formats: what the tables are written as, besides CSV.

    Raises:
        reports.tables.MissingExtraError: a format's library is not installed; nothing was written.
        OSError: the folder cannot be written to.
    """
    require(formats)
    verdict = check(run_dir)
    write_verdict(run_dir, verdict)
    contents = gather_contents(run_dir, verdict)
    reports = [write_page(run_dir, contents), write_markdown(run_dir, contents), write_junit(run_dir, contents)]
    return [*reports, run_dir / DELIVERIES, *write_tables(run_dir, verdict, formats)]
