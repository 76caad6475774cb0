from tests.e2e.conftest import COMMAND, Bruce


def test_the_demo_kills_on_the_way_and_ends_green_with_nothing_left_running(tmp_path):
    bruce = Bruce(tmp_path / "state", COMMAND, tmp_path)
    try:
        summary = bruce.json("demo", timeout_s=420)
        assert summary["verdict"] == "proven", summary
        assert summary["accepted"] == 300
        assert summary["requeued"] > 0
        assert summary["killed"] == 2
        bruce.run("status", expect=3)
    finally:
        bruce.run("down", "--volumes")
