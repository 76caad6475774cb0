"""What a container costs is read from the kernel's files, of either version; of another container nothing is."""

import pytest

from control_room.stack.docker import cgroups

ID = "0123456789abcdef" * 4
FIRST = f"9:memory:/docker/{ID}\n4:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n"
SECOND = f"0::/system.slice/docker-{ID}.scope\n"


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroups, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(cgroups, "_GROUPS", tmp_path / "cgroup")

    def write(**files):
        for path, text in files.items():
            file = tmp_path / path.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


def written(kernel, told, folder_by_file):
    kernel(proc__7__cgroup=told)
    kernel(**{f"cgroup__{folder}__{name}": text for (folder, name), text in folder_by_file.items()})


def test_the_first_version(kernel):
    files = {
        (f"cpuacct__docker__{ID}", "cpuacct.usage"): "2500000000\n",
        (f"memory__docker__{ID}", "memory.usage_in_bytes"): "1000\n",
        (f"memory__docker__{ID}", "memory.stat"): "cache 500\ntotal_inactive_file 300\n",
    }
    written(kernel, FIRST, files)
    assert cgroups.figures(ID, 7) == (2.5, 700)


def test_the_second_version(kernel):
    group = f"system.slice__docker-{ID}.scope"
    files = {
        (group, "cpu.stat"): "usage_usec 2500000\nuser_usec 1\n",
        (group, "memory.current"): "1000\n",
        (group, "memory.stat"): "anon 500\ninactive_file 1300\n",
    }
    written(kernel, SECOND, files)
    assert cgroups.figures(ID, 7) == (2.5, 0)


def test_a_process_of_another_container_or_of_none_tells_nothing(kernel):
    written(kernel, SECOND, {})
    assert cgroups.figures("f" * 64, 7) is None
    assert cgroups.figures(ID, 7) is None, "its files are not there"
    assert cgroups.figures(ID, 8) is None
