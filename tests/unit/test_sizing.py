import csv
from pathlib import Path

import pytest

from scripts.sizing import BODY_BYTES, RATES, ROW_BYTES, partition_rate, plan, record_bytes, table
from services.common.event import validate
from services.common.schema import migrations

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")


def test_the_page_holds_what_the_arithmetic_gives():
    assert table([plan(rate) for rate in RATES]) in PAGE, "put it in anew: python -m scripts.sizing"
    assert f"{partition_rate():,.0f}/s" in PAGE
    assert f"{record_bytes():.0f} bytes" in PAGE
    assert f"{ROW_BYTES:,} bytes" in PAGE


def test_a_payment_is_as_long_as_the_arithmetic_says():
    with (ROOT / "dataset" / "transactions.csv").open(encoding="utf-8", newline="") as file:
        lengths = [len(validate(row).canonical) for row in csv.DictReader(file)]
    assert sum(lengths) / len(lengths) == pytest.approx(BODY_BYTES, rel=0.05)


def test_what_is_written_for_a_payment_is_counted():
    created = {line.split()[2] for _, _, text in migrations() for line in text.splitlines() if "CREATE TABLE" in line}
    of_a_payment = {"payments", "outbox_events", "deliveries"}
    passing = {
        "delivery_attempts",
        "published_batches",
        "published_batches_backfill",
        "published_topic",
        "redeliveries",
        "retention",
    }
    assert created == of_a_payment | passing, "ROW_BYTES and rows_s count the tables of before"
    assert plan(1000).rows_s == 1000 * len(of_a_payment)


def test_a_slow_merchant_asks_for_dispatchers_and_not_for_anything_else():
    quick, slow = plan(10_000, merchant_s=0.1), plan(10_000, merchant_s=2.0)
    assert slow.dispatchers == 20 > quick.dispatchers
    assert slow.open_requests == 20_000
    assert (slow.api_replicas, slow.kafka_disk_bytes) == (quick.api_replicas, quick.kafka_disk_bytes)


def test_there_are_never_more_dispatchers_than_partitions_and_never_fewer_than_two_of_anything():
    for rate in (1, *RATES, 1_000_000):
        for merchant_s in (0.01, 3.0):
            found = plan(rate, merchant_s)
            assert 2 <= found.dispatchers <= found.partitions
            assert found.api_replicas >= 2
            assert found.brokers >= 3


def test_half_as_fast_a_core_asks_for_twice_as_many():
    assert plan(100_000, core=0.5).api_replicas == 2 * plan(100_000).api_replicas
