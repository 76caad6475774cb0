"""The promise at the door: a 201 means that both rows are on disk, whatever was killed under load."""

import itertools
import os
import threading
import uuid
from contextlib import contextmanager

import psycopg
import pytest
import requests

from services.common.event import canonical_bytes
from tests.integration.fixtures_api import event, replica, send
from tests.integration.fixtures_stores import free_port, until

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_api"]
CALLERS = 8
LIVES = 4


class Load:
    """Callers in a closed loop, each event once; what was answered with which status."""

    def __init__(self, url):
        self.url = url
        self.accepted = {}
        self.statuses = set()
        self.unavailable_without_retry_after = 0
        self.unanswered = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    @contextmanager
    def running(self):
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(30)

    def until_accepted(self, more):
        wanted = len(self.accepted) + more
        until(lambda: len(self.accepted) >= wanted, 60, f"{more} more accepted events")

    def _call(self):
        with requests.Session() as session:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                one = event(str(uuid.uuid4()), **{"Amount (INR)": number + 0.25})
                try:
                    answer = send(self.url, one, session)
                except requests.RequestException:
                    self.unanswered += 1
                    self._stop.wait(0.02)  # a replica that is down refuses a thousand times a second
                    continue
                self.statuses.add(answer.status_code)
                if answer.status_code == 201:
                    self.accepted[one["Transaction ID"]] = canonical_bytes(one)
                elif answer.status_code == 503 and not answer.headers.get("Retry-After"):
                    self.unavailable_without_retry_after += 1


def assert_both_rows(conninfo, accepted):
    """Every acknowledged event lies in both tables with its bytes, and no half of any other event in either."""
    with psycopg.connect(conninfo) as connection:
        stored = connection.execute(
            "SELECT p.transaction_id::text, p.canonical, o.transaction_id IS NOT NULL "
            "FROM payments p FULL JOIN outbox_events o USING (transaction_id)"
        ).fetchall()
    assert all(key is not None and queued for key, _, queued in stored), "one row of two"
    canonical = {key: body for key, body, _ in stored}
    assert {key: canonical.get(key) for key in accepted} == accepted


def test_every_201_has_both_rows_across_kill_9_of_the_replica(postgres_conninfo, kafka_settings, database, tmp_path):
    port = free_port()
    load = Load(f"http://127.0.0.1:{port}")
    with load.running():
        for _ in range(LIVES):
            with replica(tmp_path, postgres_conninfo, kafka_settings, port=port) as running:
                load.until_accepted(150)
                running.kill()
    assert load.statuses == {201}
    assert load.unanswered > 0, "nothing was under way when it died"
    assert_both_rows(postgres_conninfo, load.accepted)


def test_every_201_has_both_rows_across_kill_9_of_postgres(request, postgres_conninfo, process):
    if os.environ.get("TEST_POSTGRES_CONNINFO"):
        pytest.skip("only a Postgres of the tests' own stack is killed")
    stack = request.getfixturevalue("stack")
    load = Load(process.url)
    with load.running():
        for _ in range(LIVES - 1):
            load.until_accepted(150)
            stack.kill(["postgres"])
            stack.start(["postgres"])
        load.until_accepted(150)
    assert load.statuses <= {201, 503}
    assert load.unanswered == 0, "a request without Postgres is answered all the same"
    assert load.unavailable_without_retry_after == 0
    said = process.log_text()
    assert "Postgres does not answer" in said, "nothing was under way when it died"
    assert "Traceback" not in said
    assert_both_rows(postgres_conninfo, load.accepted)
