"""The tracking record: the snapshots of a run, kept in its folder, so that it can be looked at again."""

from control_room.tracking.record.lines import Moment
from control_room.tracking.record.reader import Record, read_record
from control_room.tracking.record.writer import LIMIT_BYTES, RecordError, RecordWriter

__all__ = ["LIMIT_BYTES", "Moment", "Record", "RecordError", "RecordWriter", "read_record"]
