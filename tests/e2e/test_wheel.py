import subprocess
import venv
from pathlib import Path

from tests.e2e.conftest import Bruce

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_alone_starts_the_stack_from_another_folder(tmp_path):
    """Dataset, SQL and templates come with the wheel: nothing of the checkout is needed."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("bruce_control-*.whl")
    subprocess.run([*pip, "install", "--constraint", ROOT / "constraints.txt", wheel], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bruce = Bruce(tmp_path / "state", str(python.with_name("bruce-control")), elsewhere, FAILURE_RATE="0")
    try:
        bruce.run("up")
        replayed = bruce.json("replay", "--max", "50")
        assert replayed["answers"] == {"201": 50}
        assert bruce.json("verify", replayed["folder"])["verdict"] == "proven"
    finally:
        bruce.run("down", "--volumes")
    assert list(elsewhere.iterdir()) == []
