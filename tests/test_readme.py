"""CI runs the two commands of the README, word for word."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_ci_runs_the_commands_of_the_readme():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.strip() for line in lines if line.startswith("    python3 -m venv ")]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(commands) == 2
    for command in commands:
        assert f"{command} || exit 1" in ci


def test_contributing_gives_the_same_command():
    (command,) = [
        line.strip()
        for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("    python3 -m venv ")
    ]
    assert f"    {command}" in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
