"""Every quick scenario that ships, as the command line runs it."""

import json

import pytest

from control_room.scenarios.model import find, load, shipped

QUICK = [name for name in shipped() if load(find(name)).quick]


@pytest.mark.parametrize("name", QUICK)
def test_the_scenario_ends_proven_with_every_step_done(calm, name):
    done = calm.run("scenario", "run", name, "--json", expect=None, timeout_s=400)
    result = json.loads(done.stdout)
    assert result["passed"], json.dumps(result, indent=1)
    assert result["measures"]["accepted"] > 0
    assert result["measures"]["unexplained"] == 0, result["duplicates"]
