"""What has waited goes on at a pace: so many a second in the long run, and a delay does not become a burst."""

import pytest
from pydantic import ValidationError

from services.common.catch_up import CatchUp
from services.common.settings import explain
from services.dispatcher.settings import DispatcherSettings
from services.outbox_publisher.settings import PublisherSettings
from tests.unit.test_api_pace import Clock


@pytest.fixture
def clock():
    return Clock()


def under_way(clock, per_s=1000):
    """One whose slow start is over."""
    catch_up = CatchUp(per_s, clock=clock)
    for _ in range(4):
        catch_up.went(1)
        clock.now_s += 1.0
    return catch_up


def test_a_batch_is_followed_by_the_rest_that_its_pace_asks_for(clock):
    catch_up = under_way(clock)
    assert catch_up.rest_s == 0
    catch_up.went(500)
    clock.now_s += catch_up.rest_s
    catch_up.went(250)
    assert catch_up.rest_s == pytest.approx(0.25)


def test_work_that_takes_its_time_counts_as_rest(clock):
    catch_up = under_way(clock)
    catch_up.went(1000)
    clock.now_s += catch_up.rest_s
    rests = []
    for _ in range(10):
        catch_up.went(100)
        clock.now_s += 0.06  # of the 0.1 s that a hundred have
        rests.append(catch_up.rest_s)
        clock.now_s += rests[-1]
    assert rests == pytest.approx([0.04] * 10)


def test_a_short_delay_is_made_up_for_and_a_long_one_makes_no_burst(clock):
    catch_up = under_way(clock)
    clock.now_s += 4
    at_once = 0
    while catch_up.rest_s == 0:
        catch_up.went(100)
        at_once += 100
    assert 100 <= at_once <= 300


def went_in(catch_up, clock, seconds):
    """How many go on within so long, by tens."""
    count, end_s = 0, clock.now_s + seconds
    while clock.now_s < end_s:
        catch_up.went(10)
        count += 10
        clock.now_s += catch_up.rest_s
    return count


def test_a_backlog_begins_slowly_and_each_new_one_does(clock):
    catch_up = CatchUp(8000, clock=clock)
    for _ in range(2):
        by_second = [went_in(catch_up, clock, 1.0) for _ in range(6)]
        assert by_second[0] < 2000
        assert by_second == sorted(by_second)
        assert by_second[-1] == pytest.approx(8000, rel=0.01)
        clock.now_s += 10


def test_what_trickles_on_does_not_begin_anew(clock):
    catch_up = under_way(clock)
    for _ in range(20):
        clock.now_s += 2
        catch_up.went(10)
    clock.now_s += 2
    catch_up.went(500)
    assert catch_up.rest_s == pytest.approx(0.3)  # 0.2 s are made up for


def test_without_a_pace_nothing_rests(clock):
    catch_up = CatchUp(0, clock=clock)
    catch_up.went(1_000_000)
    assert catch_up.rest_s == 0


@pytest.mark.parametrize(
    ("settings", "name"), [(PublisherSettings, "OUTBOX_CATCH_UP_PER_SEC"), (DispatcherSettings, "CATCH_UP_PER_SEC")]
)
@pytest.mark.parametrize("value", ["-1", "0.5", "99", "fast"])
def test_a_pace_that_would_let_a_thread_rest_for_long_stops_the_start(monkeypatch, settings, name, value):
    monkeypatch.setenv("HMAC_SECRET", "a-secret-that-is-long-enough")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        settings()
    assert name in explain(caught.value)[0]


@pytest.mark.parametrize(("value", "pace"), [("0", 0), ("100", 100), ("20000", 20_000)])
def test_a_pace_can_be_set_or_taken_away(monkeypatch, value, pace):
    monkeypatch.setenv("OUTBOX_CATCH_UP_PER_SEC", value)
    assert PublisherSettings().outbox_catch_up_per_sec == pace
