"""One payment until its definite answer: every try an operation of its own, all under the same id."""

from __future__ import annotations

import asyncio
import time
from random import Random

from control_room.replay.client import Answer, ApiClient, Outcome
from control_room.replay.operation_log import OperationLog
from control_room.replay.payments import Payment
from control_room.replay.progress import Tally
from control_room.replay.retry import RetryPolicy


class Sender:
    """Sends payments and logs what became of each request."""

    def __init__(
        self,
        client: ApiClient,
        log: OperationLog,
        tally: Tally,
        retry: RetryPolicy,
        random: Random,
        stop: asyncio.Event,
    ) -> None:
        self._client = client
        self._log = log
        self._tally = tally
        self._retry = retry
        self._random = random
        self._stop = stop

    async def send(self, payment: Payment, due_s: float | None = None) -> None:
        """Sends `payment`, again and again as the policy allows, until it has a definite answer.

        Args:
            payment: what to send.
            due_s: `time.monotonic()` at which it should have left; None where it is due when it leaves.

        Raises:
            RunFolderError: the operation log cannot be written; the request did not leave.
        """
        tally = self._tally
        tally.payments += 1
        tally.in_flight += 1
        try:
            began_s = time.monotonic()
            await self._until_answered(payment, began_s, began_s if due_s is None else due_s)
        finally:
            tally.in_flight -= 1

    async def _until_answered(self, payment: Payment, began_s: float, due_s: float) -> None:
        tries, try_due_s = 0, due_s
        while True:
            tries += 1
            answer = await self._try(payment, tries, try_due_s)
            now_s = time.monotonic()
            self._tally.answer(answer, payment.line, now_s - due_s)
            if answer.outcome is not Outcome.UNKNOWN:
                return
            wait_s = None
            if answer.again and not self._stop.is_set():
                wait_s = self._retry.wait_s(tries, now_s - began_s, self._random, answer.retry_after_s)
            if wait_s is None or await self._stopped_within(wait_s):
                self._tally.gave_up += 1
                return
            try_due_s = now_s + wait_s

    async def _try(self, payment: Payment, tries: int, due_s: float) -> Answer:
        late_s = max(0.0, time.monotonic() - due_s)
        operation = self._log.invoke(payment, tries, time.time() - late_s)
        try:
            answer = await self._client.post(payment)
        except asyncio.CancelledError:
            self._interrupted(operation)
            raise
        self._note(operation, answer)
        return answer

    def _interrupted(self, operation: int) -> None:
        self._log.info(operation, "interrupted")
        self._tally.unanswered["interrupted"] += 1
        self._tally.requests += 1
        self._tally.gave_up += 1

    def _note(self, operation: int, answer: Answer) -> None:
        if answer.outcome is Outcome.ACCEPTED:
            self._log.ok(operation, answer.status, duplicate=answer.duplicate, by=answer.by)
        elif answer.outcome is Outcome.REFUSED:
            self._log.fail(operation, answer.status)
        else:
            self._log.info(operation, answer.why)

    async def _stopped_within(self, wait_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), wait_s)
        except TimeoutError:
            return False
        return True
