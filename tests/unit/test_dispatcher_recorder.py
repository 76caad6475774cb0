"""Outcomes go to Postgres in batches; what they finish is said afterwards, never before."""

import asyncio

import psycopg
import pytest

from services.dispatcher.outcome import Outcome, clean, latest, parameters
from services.dispatcher.record import Position
from services.dispatcher.recorder import BATCH_ROWS, Recorder
from tests.unit.dispatcher_ports import until


def outcome(transaction_id="id", state="delivered"):
    return Outcome(transaction_id, state, 1, 1, 1, 0, 7, 100.0, 99.0, 12.5, 200, None, None)


class Postgres:
    """Keeps the ids of each statement. `faults` are raised by the next statements, one each; `poison` is refused."""

    def __init__(self):
        self.statements, self.faults, self.poison = [], [], None
        self.connects, self.closed = 0, False
        self.pgconn = self
        self.answers = asyncio.Event()
        self.answers.set()

    async def connect(self, *_, **__):
        self.connects += 1
        self.closed = False
        return self

    def finish(self):
        self.closed = True

    async def execute(self, _, values):
        await self.answers.wait()
        if self.faults:
            raise self.faults.pop(0)
        ids = values[0].strip("{}").split(",")
        if self.poison in ids:
            raise psycopg.errors.CheckViolation("refused")
        self.statements.append(ids)


@pytest.fixture
async def world(monkeypatch):
    postgres = Postgres()
    monkeypatch.setattr(psycopg.AsyncConnection, "connect", postgres.connect)
    monkeypatch.setattr("services.dispatcher.recorder.RETRY_S", 0.01)
    postgres.finished = []
    postgres.recorder = Recorder("", "tests", postgres.finished.extend)
    running = asyncio.create_task(postgres.recorder.run())
    yield postgres
    running.cancel()


def place(offset):
    return Position(0, offset, 1)


async def test_an_offset_is_not_finished_before_its_outcome_is_recorded(world):
    world.answers.clear()
    world.recorder.add(outcome(), place(1))
    await asyncio.sleep(0.15)
    assert (world.finished, world.recorder.backlog) == ([], 1)
    world.answers.set()
    await until(lambda: world.finished == [place(1)])
    assert world.recorder.backlog == 0


async def test_while_postgres_is_away_outcomes_wait_and_then_all_are_recorded_in_order(world, caplog):
    caplog.set_level("INFO")
    world.faults = [psycopg.OperationalError("gone"), OSError("still gone"), psycopg.InterfaceError("closed")]
    for number in range(5):
        world.recorder.add(outcome(f"id-{number}"), place(number))
    await until(lambda: len(world.finished) == 5)
    assert world.statements == [[f"id-{number}" for number in range(5)]]
    assert world.finished == [place(number) for number in range(5)]
    assert world.connects == 4
    said = [line for line in caplog.messages if "Postgres" in line]
    assert len(said) == 2
    assert said[0] == "Postgres does not take outcomes, delivering goes on: gone"
    assert said[1].startswith("Postgres answers again after ")


async def test_one_refused_outcome_neither_blocks_the_others_nor_is_delivered_for_ever(world, caplog):
    world.poison = "id-3"
    for number in range(8):
        world.recorder.add(outcome(f"id-{number}"), place(number))
    await until(lambda: len(world.finished) == 8)
    written = {one for statement in world.statements for one in statement}
    assert written == {f"id-{number}" for number in range(8)} - {"id-3"}
    assert "outcome refused by Postgres and dropped tid=id-3: refused" in caplog.messages


async def test_what_has_no_outcome_is_finished_in_its_turn(world):
    world.recorder.add(outcome("first"), place(1))
    world.recorder.add(None, place(2))
    await until(lambda: world.finished == [place(1), place(2)])
    assert world.statements == [["first"]]


async def test_a_great_backlog_is_written_in_batches(world):
    for number in range(BATCH_ROWS * 2 + 1):
        world.recorder.add(outcome(f"id-{number}"), place(number))
    async with asyncio.timeout(5):
        await world.recorder.drained()
    assert [len(statement) for statement in world.statements] == [BATCH_ROWS, BATCH_ROWS, 1]


async def test_a_drain_with_nothing_to_record_is_over_at_once(world):
    async with asyncio.timeout(1):
        await world.recorder.drained()


def test_one_row_per_transaction_shows_the_last_outcome_but_a_delivery_wins():
    rows = [outcome("a", "retrying"), outcome("b", "retrying"), outcome("a"), outcome("a", "requeued"), outcome("b")]
    assert latest(rows) == [False, False, True, False, True]


def test_a_batch_is_passed_as_columns():
    values = parameters([outcome("a"), outcome("b")], "me")
    assert values[0] == "{a,b}"
    assert values[-2:] == ["{True,True}", "me"]
    assert len(values) == len(Outcome._fields) + 2


def test_text_that_postgres_would_refuse_is_made_harmless():
    assert clean("a\0b") == "ab"
    assert len(clean("x" * 10_000)) == 200
