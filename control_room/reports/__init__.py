"""A verdict made readable."""

from control_room.reports.markdown import write_report

__all__ = ["write_report"]
