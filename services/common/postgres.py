"""One Postgres connection that a thread keeps for good: bounded in time, replaced when it dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

log = logging.getLogger(__name__)
T = TypeVar("T")
Connection = psycopg.Connection[Any]
_PAUSE_S: Final = 0.1
"""Between two connects: short, since a restarted server is wanted back at once; long enough to cost nothing."""


class DeadlineError(psycopg.OperationalError):
    """The server did not answer a statement in time. The connection is closed: nobody knows what became of it."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which no statement waits longer than `deadline_s`, even when the server or the link is silent.

    The server's own `statement_timeout` needs a server that runs, and TCP's time-outs a peer that is gone.
    """

    deadline_s: float = 2.0

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Runs one of psycopg's generators to its end. Raises DeadlineError, after closing the connection."""
        try:
            return super().wait(_bounded(gen, time.monotonic() + self.deadline_s), *args, **kwargs)
        except DeadlineError:
            self.pgconn.finish()
            raise


def _bounded(gen: Generator[Any, Any, T], until_s: float) -> Generator[Any, Any, T]:
    # psycopg resumes a waiting generator every 0.1 s with "nothing happened" (0): that is when the clock is read.
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until_s:
                raise DeadlineError("Postgres did not answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # StopIteration's value has no type


class Link:
    """The one connection of one thread: made when first needed, replaced when it dies.

    Says once that Postgres does not answer, and once that it is back. Not for several threads.
    """

    def __init__(self, conninfo: str, application_name: str, *, deadline_s: float, options: str = "") -> None:
        """`options` are server settings for the session as libpq takes them, such as `-c enable_hashjoin=off`."""
        given = conninfo_to_dict(conninfo).get("options") or ""
        # A little before our own deadline: a server that runs then says so, and the connection can stay.
        ours = f"-c statement_timeout={int(deadline_s * 900)} {options} {given}".strip()
        self._conninfo = make_conninfo(conninfo, application_name=application_name, options=ours)
        self._deadline_s = deadline_s
        self._connection: BoundedConnection | None = None
        self._down = False
        self.connections = 0
        """Connections made so far: a change tells that statements in between may have had an unknown outcome."""

    @property
    def down(self) -> bool:
        """Whether the last attempt found no server that answers."""
        return self._down

    def run(self, work: Callable[[Connection], T], *, until_s: float, stop: Callable[[], bool] = lambda: False) -> T:
        """What `work` returns, given a live autocommit connection; `work` must be safe to repeat.

        Failure policy: a connection that died under `work` leaves its outcome unknown, so `work` is repeated once on
        a new connection; connects are repeated until `until_s` (monotonic) or `stop`. After that the caller decides.

        Raises:
            psycopg.OperationalError: Postgres does not answer.
            psycopg.Error: the statement itself is refused; the connection stays.
        """
        repeated = False
        while True:
            try:
                answer = work(self._live())
            except psycopg.Error as error:
                if self._usable():
                    raise
                self._report_down(error)
                died_under_work = self._connection is not None
                self.close()
                if (died_under_work and repeated) or stop() or time.monotonic() + _PAUSE_S >= until_s:
                    raise
                repeated = repeated or died_under_work
                if not died_under_work:
                    time.sleep(_PAUSE_S)
            else:
                if self._down:
                    self._down = False
                    log.info("Postgres answers again")
                return answer

    def close(self) -> None:
        """Closes the connection, if there is one; the next `run` makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _live(self) -> BoundedConnection:
        if self._connection is None:
            connection = BoundedConnection.connect(self._conninfo, autocommit=True)
            connection.deadline_s = self._deadline_s
            self._connection = connection
            self.connections += 1
        return self._connection

    def _usable(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def _report_down(self, error: psycopg.Error) -> None:
        if not self._down:
            self._down = True
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            log.warning("Postgres does not answer reason=%s", reason)
