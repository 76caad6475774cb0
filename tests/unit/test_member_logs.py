import threading

from control_room.tracking.member_logs import RawLine, follow, merged, newest

JSON_LINE = '{"ts":"2026-01-01T00:00:0%d.000Z","level":"info","member":"m","logger":"x","message":"words %d"}'


def test_json_lines_are_taken_apart_and_others_are_kept_whole():
    assert RawLine("api", JSON_LINE % (1, 1)).text == "words 1"
    assert RawLine("kafka-1", "{broken").plain(with_member=True) == "kafka-1 {broken"


def test_a_line_says_when_it_was_written_and_how_grave_it_is_where_it_tells_so():
    line = RawLine("api", JSON_LINE % (1, 1))
    assert (line.ts, line.level) == ("2026-01-01T00:00:01.000Z", "info")
    server = RawLine("kafka-1", "WARN a controller left")
    assert (server.ts, server.level, server.text) == ("", "", "WARN a controller left")
    assert line == RawLine("api", line.raw)
    assert line != RawLine("nginx", line.raw)


def test_control_characters_never_reach_the_terminal():
    assert "\x1b" not in RawLine("nginx", "evil \x1b[2J line").plain(with_member=False)


def test_newest_lines_come_across_rotated_files(tmp_path):
    (tmp_path / "m.log.1").write_text("one\ntwo\n")
    (tmp_path / "m.log").write_text("three\n")
    lines = newest("m", [tmp_path / "m.log.1", tmp_path / "gone", tmp_path / "m.log"], 2)
    assert [line.text for line in lines] == ["two", "three"]


def test_members_are_interleaved_by_time():
    one = [RawLine("a", JSON_LINE % (1, 1)), RawLine("a", "stays behind it"), RawLine("a", JSON_LINE % (4, 4))]
    two = [RawLine("b", JSON_LINE % (2, 2))]
    assert [line.text for line in merged([one, two])] == ["words 1", "stays behind it", "words 2", "words 4"]


def test_following_survives_a_rotation_and_joins_split_lines(tmp_path):
    path = tmp_path / "m.log"
    path.write_text("old\n")
    seen, done = [], threading.Event()
    lines = follow({"m": path}, done.is_set)

    def read():
        for line in lines:
            seen.append(line.text)
            if line.text == "last":
                return

    reader = threading.Thread(target=read)
    reader.start()
    deadline = threading.Event()
    while not seen and not deadline.wait(0.05):
        with path.open("a") as file:
            file.write("first\n")
    path.rename(tmp_path / "m.log.1")
    path.write_text("last\n")
    reader.join(10)
    done.set()
    assert seen[0] == "first"
    assert seen[-1] == "last"
    assert "old" not in seen
