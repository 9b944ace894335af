"""``edgevision web-password``: a file with hashes only. Also tests ``edgevision.cli.web_password``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgevision.web.passwords import Passwords


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgevision", "web-password", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True)


def test_a_password_and_a_token_are_written_as_hashes(tmp_path: Path) -> None:
    path = tmp_path / "page.password"
    done = run(str(path), given="correct horse\n")
    assert (done.returncode, done.stdout) == (0, "")
    token = run(str(path), "--token").stdout.strip()
    found = Passwords.read(path, {})
    assert found.opens("correct horse")
    assert found.takes(token)
    assert "correct horse" not in path.read_text()
    assert token not in path.read_text()


def test_no_password_and_a_short_one_are_one_line(tmp_path: Path) -> None:
    for given, said in (("", "no password came"), ("short\n", "expected 8 or more")):
        done = run(str(tmp_path / "f"), given=given)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
