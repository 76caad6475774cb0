"""How many payments retention takes in one batch: as many as fit into the time that a batch should take."""

import pytest

from services.outbox_publisher.retention import MOST_ROWS, rows_next


@pytest.mark.parametrize(
    ("rows", "took_s", "following"),
    [
        (200, 0.08, 200),  # as it should be
        (200, 0.10, 160),
        (200, 0.05, 320),
        (200, 0.01, 400),  # never more than twice as many at once,
        (200, 5.0, 100),  # nor fewer than half
        (400, 0.001, MOST_ROWS),
        (25, 1.0, 20),
        (20, 0.0, 40),
    ],
)
def test_a_batch_takes_as_many_payments_as_fit_into_its_time(rows, took_s, following):
    assert rows_next(rows, took_s) == following


def test_one_slow_batch_does_not_make_those_after_it_small():
    """With 30 ms of each batch for the way to Postgres, whatever it holds, it is large again after a few."""
    rows = MOST_ROWS
    seen = []
    for spike_s in (0.3, 0, 0, 0):
        rows = rows_next(rows, 0.03 + 0.0001 * rows + spike_s)
        seen.append(rows)
    assert seen == [250, 364, 439, 475]
