"""The gate in front of the merchant: pause, probe and ramp. Pure: it is told the time and what happened.

Rules:
- An exhausted round starts a pause. Nothing is attempted in it but one probe every `probe_interval_s`.
- Several dispatchers notice the same dead merchant in the same second. So that they do not ask in step, the first probe
  comes at a random moment of the first interval, the next ones, and a pause's end, up to a tenth later than they might.
- The first success anywhere ends the pause.
- A pause ends as it starts where deliveries are succeeding: one that *began* at most `evidence_s` ago succeeded, or,
  where attempts are few, one of the last EVIDENCE_ATTEMPTS did, and began at most EVIDENCE_MAX_AGE_S ago. When the
  success began counts, not when it came back: an old request that a dying merchant still answered is no evidence.
- After a real pause the work comes back over a ramp: at most RAMP_START transactions, RAMP_STEP more with each success,
  RAMP_STEP_BACK fewer with each attempt that got no answer.
  A transaction keeps its slot, waits included, until it is delivered or its round is exhausted; so a merchant that is
  still dead after a pause that ran its full length sees RAMP_START transactions and the next pause, not the herd.
- For the first `ramp_s` of it the clock has a say too: no more transactions have begun than RAMP_START, doubled
  RAMP_DOUBLINGS times over that stretch. Slots alone would let a merchant that answers in a millisecond, and may be
  about to fall over again, have the full rate within ten of them.
- A success lets more in only where most slots were taken (else nobody waited for one), and not where it took long, by
  the time-out and by the ramp's fastest: what is queued already, here or at the merchant, only gets later by more. The
  ramp is over at the full number, or after so many successes in a row that most slots were free for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from services.dispatcher.retry import JITTER

EVIDENCE_ATTEMPTS: Final = 20
"""A merchant that fails 70 % of its requests fails 20 in a row once in 1,250 times; a dead one is known after 20."""
EVIDENCE_MAX_AGE_S: Final = 30.0
"""A round of three attempts that all time out takes about half of this: an older success says nothing of now."""
RAMP_START: Final = 8
RAMP_STEP: Final = 4
"""Each success lets four more in: 1,000 at once after some four round trips of a healthy merchant."""
RAMP_STEP_BACK: Final = 1
"""Each attempt without an answer lets one fewer in: where four in five time out the ramp goes back. A merchant (or a
machine) that is asked more than it can answer in time does the work and earns nothing; one that leaves a third of its
requests unanswered out of spite still gets everything."""
RAMP_DOUBLINGS: Final = 8
"""From 8 transactions to 2,048: at the usual 2 s the rate grows from 22 a second to more than one process delivers."""


class Phase(StrEnum):
    """What the gate lets through."""

    OPEN = "open"
    PAUSED = "paused"
    RAMP = "ramp"


class Ticket(Protocol):
    """What passes the gate: something that remembers the ramp in which it holds a slot."""

    ramp: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """A pause ended."""

    after_s: float
    transaction_id: str
    """Whose success ended it; after the full length, who caused it."""


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause began."""

    ended_by: str | None
    """Whose recent success ended it as it began; None: it lasts."""


class Gate:
    """Decides who may be attempted. All times are seconds of one monotonic clock."""

    def __init__(
        self,
        *,
        pause_s: float,
        probe_interval_s: float,
        evidence_s: float,
        full: int,
        ramp_s: float,
        quick_s: float,
        chance: Callable[[], float],
    ) -> None:
        """`full` is the limit at which a ramp is over: the most requests that may be open at once.

        `ramp_s` is how long a ramp lasts at least; 0 for one that follows the successes alone. An answer within
        `quick_s` never took long. `chance` draws a random number in [0, 1).
        """
        self._pause_s = pause_s
        self._probe_interval_s = probe_interval_s
        self._evidence_s = evidence_s
        self._full = full
        self._ramp_s = ramp_s
        self._quick_s = quick_s
        self._chance = chance
        self._phase = Phase.OPEN
        self._evidence_at_s = float("-inf")
        self._evidence_id = ""
        self._failures_since = 0
        self._paused_at_s = 0.0
        self._pause_ends_s = 0.0
        self._caused_by = ""
        self._next_probe_s = float("inf")
        self._hold_off_until_s = float("-inf")
        self._ramp = 0
        self._slots = 0
        self._limit = 0
        self._began = 0
        self._resumed_at_s = 0.0
        self._fastest_s = float("inf")
        self._unwanted = 0

    @property
    def phase(self) -> Phase:
        """What the gate lets through now."""
        return self._phase

    @property
    def paused_until_s(self) -> float | None:
        """When the pause ends at the latest; None outside one."""
        return self._pause_ends_s if self._phase is Phase.PAUSED else None

    def vacancies(self, now_s: float) -> int | None:
        """How many more transactions a ramp lets in; None where there is no ramp."""
        if self._phase is not Phase.RAMP:
            return None
        return max(0, min(self._limit - self._slots, self._allowed_by(now_s) - self._began))

    @property
    def wake_s(self) -> float:
        """When time alone lets something through: a pause's end, a probe, one more of a ramp; else infinite."""
        if self._phase is Phase.PAUSED:
            return min(self._pause_ends_s, self._probe_at_s)
        if self._phase is Phase.RAMP and self._slots < self._limit:
            doublings = math.log2((self._began + 1) / RAMP_START)
            return self._resumed_at_s + self._ramp_s * min(1.0, max(0.0, doublings / RAMP_DOUBLINGS))
        return float("inf")

    @property
    def _probe_at_s(self) -> float:
        return max(self._next_probe_s, self._hold_off_until_s)

    def succeeded(self, ticket: Ticket, transaction_id: str, started_s: float, now_s: float) -> Resumed | None:
        """A delivery that began at `started_s` succeeded; the pause that it ended, if any."""
        if started_s >= self._evidence_at_s:
            self._evidence_at_s, self._evidence_id = started_s, transaction_id
            self._failures_since = 0
        self._hold_off_until_s = float("-inf")
        in_use = 2 * self._slots > self._limit
        self.leave(ticket)
        if self._phase is Phase.PAUSED:
            return self._resume(transaction_id, now_s)
        if self._phase is Phase.RAMP:
            self._climb(in_use, now_s - started_s, now_s)
        return None

    def _climb(self, in_use: bool, took_s: float, now_s: float) -> None:
        """A success in a ramp; `in_use`: more than half of the slots were taken."""
        self._fastest_s = min(self._fastest_s, took_s)
        if in_use and took_s <= max(self._quick_s, 2 * self._fastest_s):
            self._limit += RAMP_STEP
        self._unwanted = 0 if in_use else self._unwanted + 1
        enough = max(self._limit, RAMP_STEP * self._unwanted) >= self._full
        if enough and now_s >= self._resumed_at_s + self._ramp_s:
            self._phase = Phase.OPEN

    def failed(self, *, answered: bool) -> None:
        """An attempt failed, by what the merchant `answered` or by no answer at all."""
        self._failures_since += 1
        if not answered and self._phase is Phase.RAMP:
            self._limit = max(self._limit - RAMP_STEP_BACK, min(RAMP_START, self._full))

    def exhausted(self, ticket: Ticket, transaction_id: str, now_s: float) -> Paused | None:
        """A round is exhausted; the pause that this begins, None where one runs already."""
        self.leave(ticket)
        if self._phase is Phase.PAUSED:
            return None
        if self._deliveries_succeed(now_s):
            return Paused(self._evidence_id)
        self._caused_by = transaction_id
        self._phase = Phase.PAUSED
        self._paused_at_s = now_s
        self._pause_ends_s = now_s + self._pause_s * (1 + JITTER * self._chance())
        first_s = self._probe_interval_s * (1 - self._chance())
        self._next_probe_s = now_s + first_s if self._probe_interval_s > 0 else float("inf")
        return Paused(None)

    def tick(self, now_s: float) -> Resumed | None:
        """The pause that has run its full length at `now_s`, if any."""
        if self._phase is Phase.PAUSED and now_s >= self._pause_ends_s:
            return self._resume(self._caused_by, now_s)
        return None

    def probe_due(self, now_s: float) -> bool:
        """Whether one waiting transaction is to be tried now, in spite of the pause."""
        return self._phase is Phase.PAUSED and now_s >= self._probe_at_s

    def probe_sent(self, now_s: float) -> None:
        """A probe left: the next is due an interval later."""
        self._next_probe_s = now_s + self._probe_interval_s * (1 + JITTER * self._chance())

    def hold_off(self, until_s: float) -> None:
        """The merchant asked for silence (`Retry-After`): probes respect it as retries do."""
        self._hold_off_until_s = max(self._hold_off_until_s, until_s)

    def admit(self, ticket: Ticket, now_s: float) -> bool:
        """Whether `ticket` may be attempted now; in a ramp it takes a slot, once."""
        if self._phase is Phase.OPEN:
            return True
        if self._phase is Phase.PAUSED:
            return False
        if ticket.ramp == self._ramp:
            return True
        if not self.vacancies(now_s):
            return False
        ticket.ramp = self._ramp
        self._slots += 1
        self._began += 1
        return True

    def leave(self, ticket: Ticket) -> None:
        """`ticket` is done with (delivered, exhausted or dropped): its slot, if it holds one, is free."""
        if ticket.ramp == self._ramp and ticket.ramp and self._slots:
            self._slots -= 1
        ticket.ramp = 0

    def _deliveries_succeed(self, now_s: float) -> bool:
        age_s = now_s - self._evidence_at_s
        if age_s <= self._evidence_s:
            return True
        return self._failures_since < EVIDENCE_ATTEMPTS and age_s <= EVIDENCE_MAX_AGE_S

    def _allowed_by(self, now_s: float) -> int:
        """How many transactions may have begun in this ramp by `now_s`, successes aside."""
        share = (now_s - self._resumed_at_s) / self._ramp_s if self._ramp_s else 1.0
        if share >= 1:
            return self._began + self._full
        # The small addition: `wake_s` names the moment of the next one, and rounding must not miss it.
        return math.floor(RAMP_START * math.exp2(RAMP_DOUBLINGS * max(0.0, share)) + 1e-6)

    def _resume(self, transaction_id: str, now_s: float) -> Resumed:
        self._phase = Phase.RAMP
        self._ramp += 1
        self._slots = self._began = 0
        self._fastest_s = float("inf")
        self._unwanted = 0
        self._resumed_at_s = now_s
        self._limit = min(RAMP_START, self._full)
        return Resumed(now_s - self._paused_at_s, transaction_id)
