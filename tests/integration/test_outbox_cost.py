"""What claiming and marking read: the queue's cost depends on what waits, not on what was ever published."""

import itertools
import re

import psycopg
import pytest

from services.common import outbox
from services.outbox_publisher import leases

pytest_plugins = ["tests.integration.fixtures_stores"]
OLD_ROWS = 200_000
BATCH = 100

PAY = """
WITH paid AS (
    INSERT INTO payments SELECT gen_random_uuid(), now()::timestamp, 'a', 'a@b', 'b', 'c@d', 1, 'SUCCESS',
                                'x', now() - interval '1 minute', 'api-1'
                           FROM generate_series(1, %(rows)s)
    RETURNING transaction_id, accepted_at
)
INSERT INTO outbox_events (transaction_id, created_at) SELECT transaction_id, accepted_at FROM paid
"""
PUBLISHED = """
INSERT INTO outbox_events (transaction_id, created_at, published_at)
SELECT gen_random_uuid(), now() - interval '1 day', now() FROM generate_series(1, %(rows)s)
"""


class Session:
    """The publisher's session; `explain` runs a statement as it is prepared there and gives its plan's nodes."""

    def __init__(self, connection):
        self._connection = connection
        self._names = (f"statement_{number}" for number in itertools.count())

    def explain(self, statement, arguments):
        name, numbers = next(self._names), itertools.count(1)
        self._connection.execute(f"PREPARE {name} AS " + re.sub("%b", lambda _: f"${next(numbers)}", statement))
        places = ", ".join(["%s"] * len(arguments))
        with psycopg.ClientCursor(self._connection) as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {name} ({places})", arguments)
            [[[explained]]] = [cursor.fetchone()]
        return list(nodes(explained["Plan"]))

    def claim_and_mark(self):
        """The plans of one claim and of the marking of what it claimed."""
        self._connection.execute(PAY, {"rows": BATCH})
        claimed = self.explain(leases._CLAIM, [5.0, 300.0, BATCH, "tests", 30.0])
        query = "SELECT transaction_id::text FROM outbox_events WHERE claimed_by = 'tests' AND published_at IS NULL"
        ids = sorted(row[0] for row in self._connection.execute(query).fetchall())
        assert len(ids) == BATCH
        marked = self.explain(outbox._MARK, [ids, [0] * BATCH, [1] * BATCH, [0.0] * BATCH, ["c"] * BATCH, "tests"])
        return claimed, marked


def nodes(plan):
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def buffers(plan):
    return plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"]


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def session(request, postgres_conninfo, database):
    options = f"{outbox.SESSION_OPTIONS} -c plan_cache_mode={request.param}"
    with psycopg.connect(postgres_conninfo, autocommit=True, options=options) as connection:
        yield Session(connection)


@pytest.mark.parametrize("statistics", ["fresh", "of an empty table"])
def test_claiming_and_marking_read_no_old_rows(session, database, statistics):
    database.execute("ALTER TABLE outbox_events SET (autovacuum_enabled = false)")
    database.execute("ANALYZE outbox_events")
    few = session.claim_and_mark()
    database.execute(PUBLISHED, {"rows": OLD_ROWS})
    if statistics == "fresh":
        database.execute("ANALYZE outbox_events")
    many = session.claim_and_mark()
    database.execute("ALTER TABLE outbox_events RESET (autovacuum_enabled)")
    claimed, marked = many
    assert "outbox_pending" in {node.get("Index Name") for node in claimed}
    for plan in (claimed, marked):
        assert "outbox_events" not in {n.get("Relation Name") for n in plan if n["Node Type"] == "Seq Scan"}
    for before, after in zip(few, many, strict=True):
        assert buffers(after) < 2 * buffers(before) + 5 * BATCH, "old rows were read"
