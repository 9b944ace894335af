"""``edgevision soak``: what it refuses before it starts, its report and its exit codes."""

import json

import pytest

import edgevision.soak
from edgevision.cli import main
from edgevision.soak.trend import Slope
from edgevision.soak.verdict import SoakCheck, SoakReport


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["soak", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture
def verdict(monkeypatch):
    """Lets the command run with a report of our choice instead of a soak."""

    def give(*checks):
        flat = Slope(0.0, -0.1, 0.1, points=35)
        report = SoakReport(
            passed=all(check.passed for check in checks),
            checks=checks,
            source="chaos://demo?drop=0.1",
            seconds=1200.0,
            warm_up_s=300.0,
            gives_back=True,
            memory=flat,
            memory_in_motion=flat,
            rests=(),
            blocks=(),
            streams=(),
        )
        monkeypatch.setattr(edgevision.soak, "soak", lambda *_, **__: report)

    return give


def test_a_soak_that_is_too_short_is_refused(capsys):
    assert run("--minutes", 6) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 6 minutes are too short")
    assert error.endswith("choose more --minutes or a shorter --warm-up\n")


def test_an_existing_report_is_refused_before_the_soak(tmp_path, capsys):
    path = tmp_path / "soak.json"
    path.write_text("precious")
    assert run("--minutes", 20, "--json", path) == 2
    assert "pass --overwrite" in capsys.readouterr().err
    assert path.read_text() == "precious"


def test_a_soak_that_passes(verdict, tmp_path, capsys):
    verdict(SoakCheck("memory", True, "+0.0 MiB an hour", "less than 0.95"))
    assert run("--minutes", 20, "--json", tmp_path / "soak.json") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == ["  ok   memory: +0.0 MiB an hour", "passed"]
    assert json.loads((tmp_path / "soak.json").read_text())["passed"] is True


def test_a_soak_that_fails_says_what_was_expected(verdict, capsys):
    verdict(
        SoakCheck("memory", True, "+0.0", "less"), SoakCheck("threads", False, "10 to 12", "the same number")
    )
    assert run("--minutes", 20) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-3:] == ["  FAIL threads: 10 to 12", "       expected: the same number", "failed"]
