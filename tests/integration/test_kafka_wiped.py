"""Kafka lost with all that lay in it, and made anew: whatever was accepted arrives, and nobody has to do anything."""

import re
import uuid
from functools import partial
from itertools import count
from pathlib import Path

import psycopg
import pytest
import requests
from confluent_kafka import TopicPartition

from control_room.chaos.injection import apply_fault
from control_room.chaos.wipe_kafka import WipeKafka
from control_room.stack.runtime import BROKERS
from services.common.event import canonical_bytes
from services.common.kafka import cluster_id_of, make_admin, make_consumer, make_producer
from services.common.lanes import Lanes
from services.common.signing import Secrets
from services.ingestion_api.handover import Handover
from services.ingestion_api.store import Accepted
from tests.integration.conftest import clean_environment
from tests.integration.fixtures_api import event
from tests.integration.fixtures_stores import until

WAIT_S = 180
FORGE = """
WITH lost AS (SELECT unnest(%(lost)s::uuid[]) AS id),
paid AS (
    INSERT INTO payments
    SELECT lost.id, occurred_at, sender_name, sender_upi_id, receiver_name, receiver_upi_id, amount_inr, status,
           convert_to(replace(convert_from(canonical, 'utf8'), %(like)s, lost.id::text), 'utf8'), now(), accepted_by
      FROM payments p CROSS JOIN lost WHERE p.transaction_id = %(like)s::uuid
), published AS (
    INSERT INTO outbox_events (transaction_id, published_at, published_by, kafka_partition, kafka_offset)
    SELECT lost.id, now(), o.published_by, o.kafka_partition, o.kafka_offset
      FROM outbox_events o CROSS JOIN lost WHERE o.transaction_id = %(like)s::uuid
)
INSERT INTO published_batches (cluster_id, kafka_partition, first_offset, last_offset, transaction_ids)
SELECT %(cluster)s, kafka_partition, kafka_offset, kafka_offset, %(lost)s::uuid[]
  FROM outbox_events WHERE transaction_id = %(like)s::uuid
"""


@pytest.fixture(scope="module")
def own(make_stack):
    settings = {
        "FAILURE_RATE": "0",
        "RETRY_BACKOFF_SEC": "0.2",
        "RETRY_PAUSE_SECONDS": "5",
        "PROBE_INTERVAL_SECONDS": "0.5",
        "OUTBOX_GRACE_SEC": "1",
    }
    runtime = make_stack(environ=clean_environment(**settings))
    runtime.up(print)
    return runtime


class Pipeline:
    def __init__(self, runtime):
        self.runtime = runtime
        self._where = runtime.endpoints()
        self._secrets = Secrets.parse(runtime.secret())

    def merchant(self, mode):
        requests.put(f"{self._where.merchant_url}/admin/behaviour", json={"mode": mode}, timeout=10).raise_for_status()

    def pay(self, count):
        ids = []
        with requests.Session() as session:
            for _ in range(count):
                one = event(str(uuid.uuid4()))
                body = canonical_bytes(one)
                signed = {"X-HMAC-Signature": self._secrets.sign(body), "Content-Type": "application/json"}
                answer = session.post(f"{self._where.api_url}/events", data=body, headers=signed, timeout=20)
                assert answer.status_code == 201
                ids.append(one["Transaction ID"])
        return ids

    def count(self, query, ids):
        with psycopg.connect(self._where.postgres_conninfo) as connection:
            return connection.execute(f"SELECT count(*) FROM {query}", [ids]).fetchone()[0]

    def published(self, ids):
        return self.count("outbox_events WHERE transaction_id = ANY(%s::uuid[]) AND published_at IS NOT NULL", ids)

    def put_back(self, ids):
        return self.count("outbox_events WHERE transaction_id = ANY(%s::uuid[]) AND republished > 0", ids)

    def delivered(self, ids):
        return self.count("deliveries WHERE transaction_id = ANY(%s::uuid[]) AND state = 'delivered'", ids)

    def log_text(self, member):
        return "".join(Path(one).read_text() for one in self.runtime.log_paths(member))

    def forge(self, lost, like):
        """Payments that pass for published where the record of `like` lies."""
        admin = make_admin(self._where.kafka_settings(), "tests")
        cluster = cluster_id_of(admin.list_topics(timeout=10))
        with psycopg.connect(self._where.postgres_conninfo) as connection:
            connection.execute(FORGE, {"lost": lost, "like": like, "cluster": cluster})

    def until_published(self, ids):
        until(lambda: self.published(ids) == len(ids), WAIT_S, "every row published")

    def until_delivered(self, ids):
        until(lambda: self.delivered(ids) == len(ids), WAIT_S, "every payment delivered")


@pytest.fixture
def pipeline(own):
    made = Pipeline(own)
    yield made
    made.merchant("normal")
    own.up(print)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def wipe(pipeline, journal):
    record = apply_fault(pipeline.runtime, WipeKafka.name, "kafka", [journal])
    assert record.evidence.ok, record.evidence.facts
    assert record.evidence.facts["partitions_held"] == 0
    assert record.evidence.facts["cluster"] != record.evidence.facts["cluster_before"]
    return record.evidence.facts


def test_what_lay_in_kafka_undelivered_is_published_again_and_arrives(pipeline, journal):
    pipeline.merchant("outage")
    ids = pipeline.pay(60)
    pipeline.until_published(ids)
    facts = wipe(pipeline, journal)
    later = pipeline.pay(20)
    told = re.compile(rf"published again rows=(\d+) cluster={facts['cluster']}")

    def put_back():
        return sum(map(int, told.findall(pipeline.log_text("outbox-publisher"))))

    # More than these where a replica had not yet noticed the new cluster: what it published then counts as lost too.
    until(lambda: put_back() >= len(ids), WAIT_S, "the lines with the count")
    pipeline.merchant("normal")
    pipeline.until_delivered([*ids, *later])
    assert f"Kafka was made anew (cluster {facts['cluster']}" in pipeline.log_text("dispatcher")


def test_payments_reach_kafka_at_once_again_and_are_noted_under_the_new_cluster(pipeline, journal):
    cluster = wipe(pipeline, journal)["cluster"]
    pipeline.merchant("outage")
    until(lambda: api_published(pipeline), WAIT_S, "a payment that a replica itself published")
    noted = "published_batches WHERE cluster_id = %s"
    until(lambda: pipeline.count(noted, cluster) > 0, WAIT_S, "a batch of the new cluster")
    # What a replica published just before it noticed is noted under the old one until the publisher next looks.
    old = "published_batches WHERE cluster_id <> %s"
    until(lambda: pipeline.count(old, cluster) == 0, WAIT_S, "no batch of the old cluster")


def api_published(pipeline):
    ids = pipeline.pay(3)
    by_api = "outbox_events WHERE transaction_id = ANY(%s::uuid[]) AND published_by LIKE 'ingestion-api-%%'"
    until(lambda: pipeline.published(ids) == 3, WAIT_S, "three rows published")
    return pipeline.count(by_api, ids)


def test_with_the_publisher_dead_meanwhile_it_is_made_good_when_it_is_back(pipeline, journal):
    """The topics are made by the dispatcher then, and replicas publish to the new cluster before anybody looks back."""
    pipeline.merchant("outage")
    ids = pipeline.pay(30)
    pipeline.until_published(ids)
    pipeline.runtime.kill(["outbox-publisher"])
    wipe(pipeline, journal)
    pipeline.merchant("normal")
    fresh = []
    until(
        lambda: fresh.extend(pipeline.pay(1)) or pipeline.delivered(fresh), WAIT_S, "a payment past the dead publisher"
    )
    pipeline.runtime.start(["outbox-publisher"])
    pipeline.until_delivered([*ids, *fresh])


def test_topics_that_vanish_in_the_same_cluster_come_back_by_themselves(pipeline):
    settings = pipeline.runtime.endpoints().kafka_settings()
    pipeline.merchant("outage")
    ids = pipeline.pay(30)
    pipeline.until_published(ids)
    admin = make_admin(settings, "tests")  # kept until the answers are there
    for future in admin.delete_topics([settings.kafka_topic, settings.dead_topic]).values():
        future.result(20)
    # Not by what is pending: a row that was put back may be published again before anybody looks.
    until(lambda: pipeline.put_back(ids) == len(ids), WAIT_S, "rows that are put back")
    pipeline.merchant("normal")
    pipeline.until_delivered([*ids, *pipeline.pay(5)])


def test_what_is_acknowledged_after_a_wipe_lies_in_the_new_kafka(own):
    """Producer ids of two clusters collide. A producer that outlived its cluster and sent to the new one made a broker
    take the first record of another, with the same id there, for a repeat: acknowledged with an offset, not kept."""
    settings = own.endpoints().kafka_settings()
    hands = [a_hand(settings) for _ in range(6)]
    before = hands[0]._way.cluster_id
    own.wipe_kafka()
    reports, ids = [], count()

    def send():
        for hand in hands:
            hand.send([Accepted(str(next(ids)), b"kept", 5)])
            reports.extend(one for one in hand.reports(0.05) if one.cluster_id != before)
        return len(reports)

    until(lambda: send() or not any(hand.kafka_answers for hand in hands), WAIT_S, "the outage noticed")
    own.start(BROKERS)
    until(lambda: send() >= 20, WAIT_S, "records that the new cluster acknowledged")
    hands += [a_hand(settings) for _ in range(30)]  # as many ids as it takes to meet those of the old cluster
    until(lambda: send() >= 200, WAIT_S, "records of the others too")
    kept = records(settings, settings.dead_topic, 0)
    assert [one for one in reports if kept.get(one.offset) != one.transaction_id.encode()] == []


def test_a_payment_whose_acknowledged_record_is_not_there_arrives_all_the_same(pipeline):
    """It passes for published at an offset that the dispatcher has passed, and nothing came of it: as a broker leaves
    it that took the record for a repeat, or a late mark of a topic that was made anew."""
    ids = pipeline.pay(20)
    pipeline.until_delivered(ids)
    lost = [str(uuid.uuid4()) for _ in range(3)]
    pipeline.forge(lost, like=ids[0])
    pipeline.until_delivered(lost)
    assert pipeline.put_back(lost) == 3
    assert pipeline.put_back(ids) == 0
    assert "passed without a trace are published again rows=3" in pipeline.log_text("outbox-publisher")


def a_hand(settings):
    """The hand-over of a replica that knows its cluster and has its producer's id."""
    made = Handover(partial(a_producer, settings), settings.dead_topic, Lanes(1))
    until(lambda: made.reports(0.05) or made._way.cluster_id, WAIT_S, "the cluster's id")
    made._way.producer.produce(settings.dead_topic, b"nobody's", partition=1)
    assert made._way.producer.flush(30) == 0
    return made


def a_producer(settings, on_error):
    return make_producer(settings, "tests", linger_ms=1, message_timeout_ms=5000, error_cb=on_error)


def records(settings, topic, partition):
    """The key at each offset."""
    consumer = make_consumer(settings, "tests", group_id=f"tests-{uuid.uuid4()}")
    place = TopicPartition(topic, partition, 0)
    _, end = consumer.get_watermark_offsets(place, timeout=20)
    consumer.assign([place])
    found = {}
    while len(found) < end:
        message = consumer.poll(20)
        assert message is not None, f"{len(found)} of {end} records came"
        found[message.offset()] = message.key()
    consumer.close()
    return found


def test_a_wipe_that_was_interrupted_is_finished_by_the_start_of_a_broker(pipeline, own):
    before = own._record().cluster_id
    own.wipe_kafka()
    for broker in ("kafka-1", "kafka-2"):
        (own.layout.kafka_dir / broker / "data" / "meta.properties").unlink()
    own.start(["kafka-1", "kafka-2", "kafka-3"])
    assert own._record().cluster_id != before
    pipeline.until_delivered(pipeline.pay(10))
