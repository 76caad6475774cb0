from types import SimpleNamespace

from control_room.stack.docker import logs
from control_room.stack.docker.engine import Container
from control_room.stack.docker.logs import LogFiles


class Engine:
    """What the engine keeps of one container's output, asked for as the client asks: whole seconds, stamps before."""

    def __init__(self):
        self.lines = []
        self.api = SimpleNamespace(logs=self.logs)

    def logs(self, container_id, timestamps, since=None, tail=None):
        assert timestamps
        chosen = [(second, text) for second, text in self.lines if since is None or second >= int(since)]
        chosen = chosen[-tail:] if tail else chosen
        return "".join(
            f"2026-01-31T10:00:{second:02d}.{n:09d}Z {text}\n" for n, (second, text) in self._numbered(chosen)
        ).encode()

    def _numbered(self, chosen):
        return [(self.lines.index(one), (one[0] % 60, one[1])) for one in chosen]


def text(paths):
    return "".join(path.read_text() for path in paths)


def test_what_a_container_says_comes_once_and_in_order_however_often_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(logs, "_FETCH_EVERY_S", 0)
    base = 1769853600  # 2026-01-31T10:00:00Z
    engine, container = Engine(), Container("abc", "dispatcher")
    files = LogFiles(tmp_path)
    engine.lines = [(base + 1, "one"), (base + 1, "two")]
    assert text(files.paths(engine, container)) == "one\ntwo\n"
    engine.lines += [(base + 1, "three"), (base + 2, "four")]
    assert text(files.paths(engine, container)) == "one\ntwo\nthree\nfour\n"
    assert text(LogFiles(tmp_path).paths(engine, container)) == "one\ntwo\nthree\nfour\n", "another process goes on"


def test_a_container_made_anew_is_read_from_its_beginning(monkeypatch, tmp_path):
    monkeypatch.setattr(logs, "_FETCH_EVERY_S", 0)
    base = 1769853600
    engine, files = Engine(), LogFiles(tmp_path)
    engine.lines = [(base + 5, "of the old one")]
    files.paths(engine, Container("old", "nginx"))
    engine.lines = [(base + 3, "of the new one")]
    assert text(files.paths(engine, Container("new", "nginx"))) == "of the old one\nof the new one\n"


def test_a_long_log_is_put_aside_and_named_oldest_first(monkeypatch, tmp_path):
    monkeypatch.setattr(logs, "_FETCH_EVERY_S", 0)
    monkeypatch.setattr(logs, "_MAX_BYTES", 10)
    base = 1769853600
    engine, files, container = Engine(), LogFiles(tmp_path), Container("abc", "kafka-1")
    engine.lines = [(base + 1, "a line of the first file")]
    files.paths(engine, container)
    engine.lines += [(base + 2, "a line of the second")]
    paths = files.paths(engine, container)
    assert [path.name for path in paths] == ["kafka-1.log.1"]
    assert text(paths) == "a line of the second\n"
