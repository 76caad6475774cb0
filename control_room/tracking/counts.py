"""Every payment in Postgres by where it is: the sum for the time when no run is going on."""

from __future__ import annotations

import time
from typing import Final

from control_room.tracking import transactions_sql as sql
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.pipeline import KeptConnection

SHARE_OF_TIME: Final = 0.02
"""Of Postgres' time, at most: a count of millions is taken less often."""
_MAX_PAUSE_S: Final = 60.0


class CountsReader:
    """Counts now and then; between counts it repeats the last one."""

    def __init__(self, conninfo: str) -> None:
        self._connection = KeptConnection(conninfo, 10_000)
        self._last: Arithmetic | None = None
        self._not_before_s = 0.0

    def read(self) -> Arithmetic:
        """The sum as Postgres tells it. Raises SourceError where it does not."""
        began_s = time.monotonic()
        if self._last is not None and began_s < self._not_before_s:
            return self._last
        row = self._connection.row(sql.COUNTS)
        accepted, outbox, tried, retrying, requeued, dead = row
        delivered = tried - retrying - requeued - dead
        places = {
            "outbox": outbox,
            "kafka": max(0, accepted - outbox - tried),
            "in_flight": 0,
            "retrying": retrying,
            "requeued": requeued,
            "dead": dead,
        }
        self._last = Arithmetic.balanced(accepted, delivered, places)
        took_s = time.monotonic() - began_s
        self._not_before_s = time.monotonic() + min(_MAX_PAUSE_S, took_s / SHARE_OF_TIME)
        return self._last

    def close(self) -> None:
        """Closes the connection; the next count opens one again."""
        self._connection.close()
