import subprocess
import venv
from pathlib import Path

from tests.e2e.conftest import Bruce

ROOT = Path(__file__).resolve().parents[2]


def installed(wheel_dir: Path) -> Path:
    """Bruce's command, of a wheel made from this checkout and installed with the pinned versions."""
    venv.create(wheel_dir / "venv", with_pip=True)
    python = wheel_dir / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", wheel_dir, ROOT], check=True)
    (wheel,) = wheel_dir.glob("bruce_control-*.whl")
    subprocess.run([*pip, "install", "--constraint", ROOT / "constraints.txt", wheel], check=True)
    return python.with_name("bruce-control")


def test_the_demo_of_the_wheel_alone_kills_on_the_way_and_ends_green_with_nothing_left_running(tmp_path):
    """From another folder: all that is needed comes with the wheel, nothing with the checkout."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bruce = Bruce(tmp_path / "state", str(installed(tmp_path)), elsewhere)
    try:
        summary = bruce.json("demo", timeout_s=420)
        assert summary["verdict"] == "proven", summary
        assert summary["accepted"] == 300
        assert summary["requeued"] > 0
        assert summary["killed"] == 2
        bruce.run("status", expect=3)
    finally:
        bruce.run("down", "--volumes")
    assert list(elsewhere.iterdir()) == []
