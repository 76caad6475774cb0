"""Payments that arrive faster than a list may cost the pipeline: counted by stretches, and read in their turn.

Of a stretch only what is not delivered is named at once. That takes Postgres 1.5 µs a payment and its reader next to
nothing, where the id of each payment and the question for it by its primary key take 8 and 5 µs.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import psycopg

from control_room.tracking import transactions_sql as sql
from control_room.tracking.transactions import TransactionRow

_LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@dataclass(slots=True)
class Stretch:
    """All payments that were accepted after `begin_s` and not after `end_s` (Unix)."""

    begin_s: float
    end_s: float
    count: int
    """How many they are; late ones are counted when they have come."""
    first_page: int
    """Their deliveries lie from this page of the table on, nearly all of them."""
    seen_at_s: float = field(default_factory=time.monotonic)
    settled: bool = False
    """Whether all that may come late have come, and all that were not delivered then are in the list."""
    passed: int = 0
    """How many are in the list, from its beginning on."""
    ahead: set[str] = field(default_factory=set)
    """The ids of those behind these that are in the list too."""
    let_go: bool = False
    """Whether the others do not come into the list any more."""

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return 0 if self.let_go else max(0, self.count - self.passed - len(self.ahead))


@dataclass(frozen=True, slots=True)
class Asked:
    """What the stretches that are not settled say."""

    open_ids: list[str]
    """Of those that are not delivered."""
    counts: list[tuple[Stretch, int, bool]]
    """How many payments each has now, and whether no more may come."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Delivered payments whose turn it is."""

    ids: list[str]
    read_to: tuple[float, str]
    """When the last of them was accepted, and its id."""
    ended: int
    """How many stretches are at their end with it."""
    begun: list[str]
    """The ids of the stretch after these that are read with it, or were before."""


class Rush:
    """The stretches that are not in the list yet. One thread uses it."""

    def __init__(self, late_s: float, most: int) -> None:
        """Holds nothing yet.

        Args:
            late_s: how late a payment may commit behind a newer one.
            most: payments that may wait; where more do, of the oldest stretches only what is open comes into the list.
        """
        self._late_s = late_s
        self._most = most
        self._stretches: deque[Stretch] = deque()
        self._left_out: list[Stretch] = []
        """Those that were let go of, until nobody asks any more whether their payments are in the list."""
        self._read_to = (float("-inf"), _LAST_ID)
        self.seen = 0
        """How many payments all stretches had."""

    @property
    def unread(self) -> int:
        """How many wait for their turn."""
        return sum(stretch.waiting for stretch in self._stretches)

    def spans(self, after_s: float) -> list[tuple[float, float]]:
        """From when to when (Unix) payments belong to stretches, as far as that is after `after_s`."""
        found: list[tuple[float, float]] = []
        for stretch in chain(self._left_out, self._stretches):
            if stretch.end_s > after_s:
                joined = found and found[-1][1] == stretch.begin_s
                begin_s = found.pop()[0] if joined else stretch.begin_s
                found.append((begin_s, stretch.end_s))
        return found

    def add(self, stretch: Stretch) -> None:
        """Takes the newest one."""
        self._stretches.append(stretch)
        self.seen += stretch.count
        unread = self.unread
        for oldest in self._stretches:
            unread -= oldest.waiting
            if unread < self._most:
                break
            oldest.let_go = True
            oldest.ahead.clear()

    def listed(self, rows: Iterable[TransactionRow]) -> None:
        """These are in the list: they wait for their turn no longer."""
        begins_s = [each.begin_s for each in self._stretches]
        for row in rows:
            at = row.accepted_at_s, row.transaction_id
            number = bisect_left(begins_s, at[0]) - 1
            if number < 0 or at <= self._read_to:
                continue
            stretch = self._stretches[number]
            if at[0] <= stretch.end_s and not stretch.let_go:
                stretch.ahead.add(row.transaction_id)

    def ask(self, connection: psycopg.Connection[Any]) -> Asked:
        """What is not delivered, of the stretches that are not settled. Raises psycopg.Error."""
        asked = Asked([], [])
        for stretch in (each for each in self._stretches if not each.settled):
            over = time.monotonic() - stretch.seen_at_s >= self._late_s
            given = {"begin_s": stretch.begin_s, "end_s": stretch.end_s, "first": f"({stretch.first_page},0)"}
            count, ids = connection.execute(sql.OPEN_WITHIN.encode(), given).fetchone() or (stretch.count, None)
            asked.counts.append((stretch, count, over))
            asked.open_ids.extend(sql.separate(ids))
        return asked

    def settle(self, asked: Asked) -> None:
        """What `ask` found to be open is in the list."""
        for stretch, count, over in asked.counts:
            self.seen += count - stretch.count
            stretch.count, stretch.settled = count, over

    def next(self, connection: psycopg.Connection[Any], most: int, without: Container[str]) -> Turn:
        """Up to `most` of those that wait longest and are not in `without`. Raises psycopg.Error."""
        ids: list[str] = []
        begun: list[str] = []
        read_to, ended, left = self._read_to, 0, most
        for stretch in self._stretches:
            if left <= 0 or not stretch.settled:
                break
            if stretch.waiting:
                after_s, after_id = max(read_to, (stretch.begin_s, _LAST_ID))
                given = {"after_s": after_s, "after_id": after_id, "end_s": stretch.end_s, "limit": left}
                found = connection.execute(sql.IDS_WITHIN.encode(), given).fetchall()
                ids += [each for each, _ in found if each not in stretch.ahead and each not in without]
                if len(found) == left:
                    read_to, begun = (found[-1][1], found[-1][0]), [each for each, _ in found]
                    break
                left -= len(found)
            read_to, ended = (stretch.end_s, _LAST_ID), ended + 1
        return Turn(ids, read_to, ended, begun)

    def read(self, turn: Turn) -> None:
        """What `next` gave is in the list."""
        ended = [self._stretches.popleft() for _ in range(turn.ended)]
        self._left_out += [stretch for stretch in ended if stretch.let_go]
        if self._stretches:
            self._stretches[0].passed += len(turn.begun)
            self._stretches[0].ahead.difference_update(turn.begun)
        self._read_to = turn.read_to

    def forget(self, horizon_s: float) -> None:
        """Nobody asks any more about what was accepted before `horizon_s` (Unix)."""
        self._left_out = [stretch for stretch in self._left_out if stretch.end_s >= horizon_s]
