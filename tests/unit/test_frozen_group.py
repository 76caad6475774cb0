import psutil
import pytest

from control_room.chaos import observe


@pytest.mark.parametrize(
    ("groups", "file", "text", "frozen"),
    [
        ("8:pids:/\n7:freezer:/docker/abc\n", "freezer/docker/abc/freezer.state", "FROZEN\n", True),
        ("7:freezer:/docker/abc\n", "freezer/docker/abc/freezer.state", "THAWED\n", False),
        ("0::/docker-abc.scope\n", "docker-abc.scope/cgroup.events", "populated 1\nfrozen 1\n", True),
        ("0::/docker-abc.scope\n", "docker-abc.scope/cgroup.events", "populated 1\nfrozen 0\n", False),
        ("0::/gone\n", "other", "", False),
    ],
)
def test_a_container_that_its_engine_has_paused_is_seen_as_stopped_by_the_kernels_word(
    monkeypatch, tmp_path, groups, file, text, frozen
):
    process = psutil.Process()
    here = tmp_path / "proc" / str(process.pid)
    here.mkdir(parents=True)
    (here / "cgroup").write_text(groups)
    (tmp_path / "cgroup" / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "cgroup" / file).write_text(text)
    monkeypatch.setattr(observe, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(observe, "_CGROUPS", tmp_path / "cgroup")
    assert observe.all_stopped(process) is frozen
