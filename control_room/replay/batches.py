"""Payments in batches: one request for many, each with its own operation, its own answer and its own tries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from control_room.replay.client import Answer, Outcome
from control_room.replay.payments import Payment
from control_room.replay.schedule import Schedule
from control_room.replay.sender import Sender
from services.common.batch import MAX_BATCH_BYTES

_BETWEEN_BYTES: Final = 2


@dataclass(slots=True)
class Batch:
    """Payments that leave together, and in an open loop when each was due, in seconds since the replay began."""

    payments: list[Payment] = field(default_factory=list)
    dues_s: list[float] = field(default_factory=list)

    def schedule(self, schedule: Schedule) -> None:
        """Asks when each is due; the batch leaves when its last payment is."""
        self.dues_s = [schedule.due_s(payment) for payment in self.payments]


@dataclass(frozen=True, slots=True)
class _Open:
    """A payment without a definite answer."""

    payment: Payment
    due_s: float
    """`time.monotonic()` at which it should have left."""


def batches(stream: Iterator[Payment], size: int) -> Iterator[Batch]:
    """`stream` in batches of `size`; of fewer where more would not fit into one request, and at the end."""
    batch, used_bytes = Batch(), _BETWEEN_BYTES
    for payment in stream:
        needed_bytes = len(payment.body) + _BETWEEN_BYTES
        if batch.payments and (len(batch.payments) == size or used_bytes + needed_bytes > MAX_BATCH_BYTES):
            yield batch
            batch, used_bytes = Batch(), _BETWEEN_BYTES
        batch.payments.append(payment)
        used_bytes += needed_bytes
    if batch.payments:
        yield batch


class BatchSender(Sender):
    """Sends batches and logs what became of each payment of each request."""

    async def send_batch(self, batch: Batch, due_s: float | None = None) -> None:
        """Sends `batch`, and what of it has no definite answer again and again as the policy allows.

        Args:
            batch: what to send.
            due_s: `time.monotonic()` at which its last payment should have left; None where it is due when it leaves.

        Raises:
            RunFolderError: the operation log cannot be written; the request did not leave.
        """
        began_s = time.monotonic()
        if due_s is None:
            left = [_Open(payment, began_s) for payment in batch.payments]
        else:
            begin_s = due_s - batch.dues_s[-1]
            left = [
                _Open(*each) for each in zip(batch.payments, (begin_s + at_s for at_s in batch.dues_s), strict=True)
            ]
        self._tally.payments += len(left)
        self._tally.in_flight += len(left)
        try:
            await self._until_all_answered(left, began_s)
        finally:
            self._tally.in_flight -= len(batch.payments)

    async def _until_all_answered(self, left: list[_Open], began_s: float) -> None:
        tries, dues_s = 0, [one.due_s for one in left]
        while True:
            tries += 1
            answers = await self._try_all(left, tries, dues_s)
            now_s = time.monotonic()
            for one, answer in zip(left, answers, strict=True):
                self._tally.answer(answer, one.payment.line, now_s - one.due_s)
            unknown = [pair for pair in zip(left, answers, strict=True) if pair[1].outcome is Outcome.UNKNOWN]
            left = [one for one, answer in unknown if answer.again]
            self._tally.gave_up += len(unknown) - len(left)
            if not left:
                return
            wait_s = None
            if not self._stop.is_set():
                asked_s = max(answer.retry_after_s for _, answer in unknown)
                wait_s = self._retry.wait_s(tries, now_s - began_s, self._random, asked_s)
            if wait_s is None or await self._stopped_within(wait_s):
                self._tally.gave_up += len(left)
                return
            dues_s = [now_s + wait_s] * len(left)

    async def _try_all(self, left: Sequence[_Open], tries: int, dues_s: Sequence[float]) -> list[Answer]:
        now_s, at_s = time.monotonic(), time.time()
        payments = [one.payment for one in left]
        operations = self._log.invoke_all(payments, tries, [at_s - max(0.0, now_s - due_s) for due_s in dues_s])
        try:
            answers = await self._client.post_batch(payments)
        except asyncio.CancelledError:
            for operation in operations:
                self._interrupted(operation)
            raise
        for operation, answer in zip(operations, answers, strict=True):
            self._note(operation, answer)
        return answers
