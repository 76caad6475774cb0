"""The counters of an event loop say what the library's own would say."""

import uuid

from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from services.common.metrics import LATENCY_BUCKETS_S, LoopCounter, LoopHistogram


def samples(collector):
    return {
        (sample.name.split("_", 1)[1], sample.labels.get("le")): sample.value
        for family in collector.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_a_histogram_of_the_loop_is_the_librarys():
    name = f"a{uuid.uuid4().hex}"
    theirs = Histogram(f"{name}_x", "x", buckets=LATENCY_BUCKETS_S, registry=CollectorRegistry())
    ours = LoopHistogram(f"{name}_x", "x", LATENCY_BUCKETS_S)
    for value in (0.0, 0.001, 0.0011, 0.25, 1800, 1801, 1e9):
        theirs.observe(value)
        ours.observe(value)
    assert samples(ours) == samples(theirs)
    REGISTRY.unregister(ours)


def test_a_counter_of_the_loop_is_asked_through_the_registry():
    name = f"a{uuid.uuid4().hex}_total"
    counter = LoopCounter(name, "x")
    counter.inc()
    counter.inc()
    assert REGISTRY.get_sample_value(name) == 2
    REGISTRY.unregister(counter)
