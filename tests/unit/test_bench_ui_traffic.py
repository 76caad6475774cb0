"""The made-up traffic of the room's bench is what the real feed reads: else the bench would measure an empty list."""

from scripts.bench_ui.traffic import Feed, Payments, id_of


def test_the_real_feed_holds_and_tells_what_the_made_up_postgres_has():
    payments = Payments(500, 1_000)
    feed = Feed(payments, 1_000)
    payments.began_at_s -= 2.0  # two seconds of traffic since
    listing = feed.read()
    assert listing.held >= 2_000
    arrived = {row.transaction_id: row for row in listing.changed}
    assert {id_of(number) for number in range(1, 1_001)} <= set(arrived)
    told, made_up = arrived[id_of(7)], payments.row(7)
    assert told._replace(age_s=0.0) == made_up._replace(age_s=0.0)
    assert listing.rows[0].transaction_id == max(arrived.values(), key=lambda row: row.accepted_at_s).transaction_id
