"""The lines that operators look for, exactly as design section 3 words them."""

import logging

import pytest

from services.dispatcher import wording

URL = "http://127.0.0.1:5001/webhook_listener"


@pytest.mark.parametrize(
    ("template", "arguments", "line"),
    [
        (
            wording.RETRYING,
            ("T", 2, 3, 2.0, "exponential"),
            "Retrying webhook delivery tid=T attempt=2/3 after 2.0s backoff (exponential)",
        ),
        (
            wording.FAILED,
            ("T", URL, 3),
            f"✗ WEBHOOK DELIVERY FAILED PERMANENTLY tid=T url={URL} attempts=3 - RE-QUEUING AND PAUSING CONSUMER",
        ),
        (
            wording.PAUSED,
            (3, wording.humanise(300), "T"),
            "Consumer paused (3 partitions). Waiting 5 minutes before resuming. tid=T",
        ),
        (wording.RESUMED, (wording.humanise(12.4), "T"), "Consumer resumed after 12 seconds tid=T"),
        (wording.DELIVERED, ("T", URL, 200), f"✓ WEBHOOK DELIVERED SUCCESSFULLY tid=T url={URL} status=200"),
    ],
)
def test_the_lines_are_worded_as_the_design_fixes_them(template, arguments, line, caplog):
    with caplog.at_level(logging.INFO):
        wording.log.info(template, *arguments)
    assert caplog.messages == [line]


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [
        (300, "5 minutes"),
        (60, "1 minute"),
        (90, "1 minute 30 seconds"),
        (3600, "1 hour"),
        (3661, "1 hour 1 minute 1 second"),
        (10, "10 seconds"),
        (1, "1 second"),
        (0, "0 seconds"),
        (0.3, "0.3 seconds"),
        (9.96, "10 seconds"),
        (59.7, "1 minute"),
        (0.04, "0 seconds"),
        (2.5, "2.5 seconds"),
        (86_400, "24 hours"),
    ],
)
def test_durations_are_said_for_people(duration_s, words):
    assert wording.humanise(duration_s) == words
