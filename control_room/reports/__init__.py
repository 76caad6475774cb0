"""A verdict made readable, for people and for other programs, from the files of a run alone."""

from control_room.reports.writing import write_all, write_report

__all__ = ["write_all", "write_report"]
