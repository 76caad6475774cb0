import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from control_room.stack.local import jars
from control_room.stack.local.jars import Jar
from control_room.stack.runtime import StackError

BODIES = {f"org/example/part{n}/1.0/part{n}-1.0.jar": b"jar %d " % n * 1000 for n in range(5)}
JARS = [Jar(hashlib.sha256(body).hexdigest(), f"org.example:part{n}:1.0") for n, body in enumerate(BODIES.values())]


class Repository(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        name, _, suffix = self.path.lstrip("/").partition(".jar")
        body = self.server.bodies.get(f"{name}.jar")
        if body is not None and suffix == ".sha1":
            body = hashlib.sha1(body).hexdigest().encode()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def repository(monkeypatch):
    monkeypatch.setattr(jars, "pinned", lambda: JARS)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    server.asked, server.bodies = [], dict(BODIES)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def provide(repository, tmp_path):
    environ = {"BRUCE_MAVEN_URL": f"http://127.0.0.1:{repository.server_address[1]}/", "HOME": str(tmp_path)}
    return lambda: jars.provide(tmp_path / "cache", environ, lambda _: None)


def test_jars_are_fetched_once_and_then_the_network_is_left_alone(repository, provide):
    assert [path.read_bytes() for path in provide()] == list(BODIES.values())
    asked = len(repository.asked)
    assert asked >= len(JARS)
    provide()
    assert len(repository.asked) == asked


def test_a_changed_jar_in_the_cache_is_noticed_and_fetched_again(provide):
    first = provide()[0]
    first.write_bytes(b"changed")
    assert provide()[0].read_bytes() == BODIES["org/example/part0/1.0/part0-1.0.jar"]


def test_a_jar_with_only_another_date_is_checked_by_its_sum_and_kept(repository, provide):
    first = provide()[0]
    asked = len(repository.asked)
    first.touch()
    provide()
    assert len(repository.asked) == asked


def test_bytes_other_than_the_pinned_ones_never_reach_the_class_path(repository, provide, tmp_path):
    repository.bodies["org/example/part3/1.0/part3-1.0.jar"] = b"evil"
    with pytest.raises(StackError, match=r"org.example:part3:1.0 arrived with SHA-256"):
        provide()
    assert not list((tmp_path / "cache").rglob("*part3*"))


def test_a_fetch_that_was_cut_short_goes_on_where_it_was(repository, provide):
    del repository.bodies["org/example/part4/1.0/part4-1.0.jar"]
    with pytest.raises(StackError, match="part4"):
        provide()
    repository.bodies.update(BODIES)
    provide()
    served = [path for path in repository.asked if path.endswith("part0-1.0.jar")]
    assert len(served) == 1


def test_without_a_network_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(jars, "pinned", lambda: JARS)
    environ = {"BRUCE_MAVEN_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    with pytest.raises(StackError, match=r"not in the cache.*Connect to the network once.*BRUCE_MAVEN_URL"):
        jars.provide(tmp_path / "cache", environ, lambda _: None)


def test_a_maven_repository_on_this_machine_saves_the_download(repository, provide, tmp_path):
    for path, body in BODIES.items():
        target = tmp_path / ".m2" / "repository" / path
        target.parent.mkdir(parents=True)
        target.write_bytes(body if "part1" not in path else b"another build")
    provide()
    assert {path.rpartition("/")[2].removesuffix(".sha1") for path in repository.asked} == {"part1-1.0.jar"}


def test_what_a_killed_fetch_left_goes_and_what_another_is_fetching_stays(provide, tmp_path):
    folder = tmp_path / "cache" / "kafka-4.3.1"
    nobody = 2**22 + 1  # above the highest pid there is
    dead = (folder / f".staging-{nobody}", folder / f".part0-1.0.jar.{nobody}")
    alive = (folder / f".staging-{os.getppid()}", folder / f".part0-1.0.jar.{os.getppid()}")
    for staging, partial in (dead, alive):
        staging.mkdir(parents=True)
        (staging / "half.jar").write_bytes(b"half")
        partial.write_bytes(b"half")
    provide()
    assert not any(path.exists() for path in dead)
    assert all(path.exists() for path in alive)
