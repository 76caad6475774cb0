"""Scenarios as files: what may stand in them, and what a storm's seed decides."""

import json
from xml.etree import ElementTree

import pytest

import scenarios
from control_room.chaos.catalogue import CATALOGUE, make
from control_room.chaos.merchant_fields import MODES
from control_room.scenarios import conditions, matrix, pace, storm
from control_room.scenarios.model import Scenario, ScenarioError, find, load, schema, shipped
from control_room.scenarios.needs import lacking, needs_of, needs_of_all
from control_room.scenarios.result import Measures, ScenarioResult, StepOutcome
from control_room.stack.runtime import MEMBERS, MemberStatus, State
from control_room.verify import Arithmetic, Outcome, Verdict
from services.common.crash import POINTS

GOOD = """
name: good
proves: Something that is worth a sentence.
steps:
  - {at: 25 %, fault: kill, target: dispatcher}
  - {after: 500 ms, heal: all}
"""


def write(tmp_path, text):
    path = tmp_path / "one.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", shipped())
def test_every_scenario_that_ships_is_right_and_named_as_its_file(name):
    found = load(find(name))
    assert found.name == name
    assert found.faults_planned > 0, "one without a fault proves nothing"


def test_at_least_sixteen_ship():
    assert len(shipped()) >= 16


def test_the_schema_that_ships_is_that_of_the_model():
    assert scenarios.SCHEMA.read_text(encoding="utf-8") == schema(), "python -m control_room.scenarios.model"


def test_durations_and_shares_are_read_with_their_units(tmp_path):
    first, second = load(write(tmp_path, GOOD)).steps
    assert (first.at, second.after) == (0.25, 0.5)
    assert first.describe() == "at 25% accepted: kill dispatcher"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kill", "stab"), "there is no fault stab"),
        (("dispatcher", "nobody"), "there is no nobody"),
        (("25 %", "25 of them"), "is not a share"),
        (("500 ms", "soon"), "is not a duration"),
        (("at: 25 %", "at: 25 %, after: 3 s"), "one of at, after and when"),
        (("heal: all", "heal: all, fault: kill, target: nginx"), "a step does one thing"),
        (("heal: all", "expect: much"), "is not a condition"),
        (("heal: all", "heel: all"), "heel"),
        (("target: dispatcher", "with: {mode: x}"), "needs `target`"),
        (("name: good", "name: Not Good"), "name"),
        (("target: dispatcher", "target: dispatcher, with: {point: x}"), "kill takes no parameters"),
        (("fault: kill, target: dispatcher", "fault: merchant, with: {mode: angry}"), "there is no mode angry"),
        (
            ("target: dispatcher", "target: dispatcher, with: {point: api.after-commit}"),
            "kill takes no parameters",
        ),
        (("fault: kill, target: dispatcher", "fault: crash-point, target: nginx"), "crash-point cannot hit nginx"),
        (
            ("fault: kill", "with: {point: api.after-commit}, fault: crash-point"),
            "dispatcher has no crash point",
        ),
        (("target: dispatcher", "target: dispatcher:postgres"), "kill cannot hit dispatcher:postgres"),
        (("fault: kill, target: dispatcher", "fault: link, target: all-brokers"), "all-brokers is a member"),
        (("fault: kill", "fault: link"), "link cannot hit dispatcher"),
        (("kill, target: dispatcher", "link, target: dispatcher:kafka, with: {mode: slow}"), "slow needs latency_ms"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_place(tmp_path, change, words):
    path = write(tmp_path, GOOD.replace(*change))
    with pytest.raises(ScenarioError) as refused:
        load(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_scenario_that_faults_a_link_needs_a_stack_with_links(tmp_path):
    assert not load(write(tmp_path, GOOD)).needs_links
    faulted = "link, target: dispatcher:kafka, with: {mode: silence}"
    assert load(write(tmp_path, GOOD.replace("kill, target: dispatcher", faulted))).needs_links


@pytest.mark.parametrize("text", ["{", "- 1", "", "steps: 3", "\x00"])
def test_what_is_no_scenario_is_a_sentence(tmp_path, text):
    with pytest.raises(ScenarioError, match=r"one\.yaml"):
        load(write(tmp_path, text))


def moment(**more):
    return conditions.Moment(Arithmetic(100, 90, outbox=4, requeued=6), 200, False, **more)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("accepted >= 100", True),
        ("accepted > 100", False),
        ("accepted >= 50 %", True),
        ("delivered >= 50 %", False),
        ("outbox == 4", True),
        ("re-queued < 6", False),
        ("open <= 10", True),
        ("unaccounted == 0", True),
        ("client ended", False),
    ],
)
def test_counts_are_compared_with_numbers_and_shares_of_the_load(text, holds):
    assert conditions.parse(text).holds(moment()) is holds


def test_a_condition_whose_source_does_not_answer_holds_neither_way():
    for text in ("dispatcher paused", "dispatcher not paused", "nginx ready", "nginx not ready"):
        assert conditions.parse(text).holds(moment()) is False
    assert conditions.parse("dispatcher paused").holds(moment(dispatcher={"paused": True}))
    members = {"nginx": MemberStatus("nginx", State.STOPPED, ready=False)}
    assert conditions.parse("nginx not ready").holds(moment(members=members))


def test_the_same_seed_makes_the_same_storm_and_another_another():
    def made(seed):
        return storm.storm(seed, faults=40, rate_per_s=50, payments=1000).model_dump_json()

    assert made(7) == made(7)
    assert made(7) != made(8)


def test_a_storm_faults_links_only_where_it_is_asked_to():
    calm, linked = (storm.storm(7, faults=60, rate_per_s=50, payments=1000, links=links) for links in (False, True))
    assert not calm.needs_links
    modes = {step.with_["mode"] for step in linked.steps if step.fault == "link"}
    assert modes == {"refuse", "silence", "slow", "reset-after"}


def test_a_storm_never_takes_two_brokers_at_once_and_heals_before_the_next_fault():
    made = storm.storm(3, faults=300, rate_per_s=50, payments=1000)
    lasting = False
    for step in made.steps:
        if step.heal is not None:
            lasting = False
            continue
        assert not lasting, step
        assert sum(name.startswith("kafka") for name in step.members) <= 1
        lasting = step.fault not in ("crash", "restart", "crash-point")


def test_a_storm_draws_every_fault_there_is_except_those_that_are_left_out_with_a_reason():
    made = storm.storm(3, faults=600, rate_per_s=50, payments=1000, links=True)
    drawn = {step.fault for step in made.steps if step.fault}
    assert drawn | set(storm.NOT_DRAWN) == set(CATALOGUE)
    assert not drawn & set(storm.NOT_DRAWN)
    assert {step.with_["mode"] for step in made.steps if step.fault == "merchant"} == set(MODES) - {"normal"}
    points = [step for step in made.steps if step.fault == "crash-point"]
    assert {step.with_["point"][0] for step in points} == set(POINTS)
    assert {name for step in made.steps if step.fault == "kill" for name in step.members} == set(MEMBERS)


@pytest.mark.parametrize("faults", [1, 8, 200])
def test_the_faults_of_a_storm_lie_where_there_is_load_left_to_reach_them(faults):
    made = storm.storm(5, faults=faults, rate_per_s=50, payments=storm.payments_for(faults, 50))
    moments = [step.at for step in made.steps if step.fault]
    assert len(moments) == faults
    assert moments == sorted(moments)
    assert moments[-1] <= 0.8
    assert faults < 8 or moments[-1] > 0.6, "and they are spread over it"


def test_a_load_gives_way_where_it_is_ahead_of_its_steps_and_never_stops():
    assert pace.pace(-0.2) == pace.pace(0) == 1.0
    assert pace.pace(0.05) == pytest.approx(0.5)
    assert pace.pace(0.075) == pytest.approx(0.25)
    assert pace.pace(0.9) == pace.LEAST > 0


def test_everything_that_a_storm_draws_can_be_made():
    for step in storm.storm(4, faults=300, rate_per_s=50, payments=1000, links=True).steps:
        for member in step.members if step.fault else ():
            make(step.fault, member, step.with_)


def result(tmp_path, outcome, *steps):
    verdict = Verdict("run", outcome, reasons=("because",) if outcome is not Outcome.PROVEN else ())
    figures = Measures(10, 0, 0, 0, 1, 0, 0.25, None, 3.0)
    return ScenarioResult(load(write(tmp_path, GOOD)), 7, tmp_path, verdict, steps, figures)


def test_a_green_verdict_with_a_step_that_never_came_is_a_failure(tmp_path):
    failed = result(tmp_path, Outcome.PROVEN, StepOutcome("kill dispatcher", False, "not within 60 s"))
    assert (failed.passed, failed.exit_code) == (False, 1)
    assert "not within 60 s" in failed.why
    assert result(tmp_path, Outcome.PROVEN, StepOutcome("kill dispatcher", True)).passed
    assert result(tmp_path, Outcome.UNKNOWN).exit_code == 12


def test_a_matrix_is_told_as_markdown_and_as_junit(tmp_path):
    results = [result(tmp_path, Outcome.PROVEN), result(tmp_path, Outcome.INVALID)]
    assert matrix.markdown(results).splitlines()[2].startswith("| good | proven | 10 | 0 | 0 | 1 | 0.2 | - | 3.0 |")
    suite = ElementTree.fromstring(matrix.junit(results))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert json.dumps(matrix.to_json(results))


def scenario(name, *steps, **more):
    return Scenario.model_validate({"name": name, "proves": "Something that is worth it.", "steps": steps, **more})


KILLS = {"fault": "kill", "target": "dispatcher"}
DIES = {"fault": "crash-point", "target": "dispatcher", "with": {"point": "dispatcher.after-2xx"}}


def test_what_a_stack_must_be_started_with_follows_from_the_faults_and_the_settings_of_a_scenario():
    assert needs_of(scenario("plain", KILLS)) == {}
    assert needs_of(scenario("dies", KILLS, DIES)) == {"CRASH_POINTS": "1"}
    assert needs_of(scenario("own", DIES, settings={"MAX_IN_FLIGHT": "5"})) == {
        "CRASH_POINTS": "1",
        "MAX_IN_FLIGHT": "5",
    }


def test_scenarios_that_need_different_settings_are_not_run_on_one_stack():
    one, other = (scenario(f"with-{value}", KILLS, settings={"MAX_IN_FLIGHT": value}) for value in ("5", "6"))
    assert needs_of_all([one, scenario("dies", DIES), one]) == {"MAX_IN_FLIGHT": "5", "CRASH_POINTS": "1"}
    with pytest.raises(ScenarioError, match="with-6 needs MAX_IN_FLIGHT=6, another one needs MAX_IN_FLIGHT=5"):
        needs_of_all([one, other])


def test_a_stack_that_was_started_without_what_a_scenario_needs_is_told_how_to_start_it():
    dies = scenario("dies", DIES)
    assert lacking(dies, {"CRASH_POINTS": "1", "MAX_RETRIES": "2"}) == ""
    assert "`CRASH_POINTS=1 bruce-control up`" in lacking(dies, {"MAX_RETRIES": "2"})
