"""The systemd unit fits the program: its options exist, its exit codes are ours, and systemd takes it."""

import re
import shutil
import signal
import subprocess
import sys

import pytest

from edgevision.cli import main
from edgevision.engines.trt.trust import record_path
from edgevision.errors import UsageError
from edgevision.service.health import STALE_S
from tests.support.paths import ROOT

UNIT = ROOT / "deploy" / "edgevision@.service"


def settings():
    """Every setting of the unit, in order; a name may come twice."""
    lines = (line for line in UNIT.read_text().splitlines() if re.match(r"[A-Z]\w*=", line))
    return [tuple(line.split("=", 1)) for line in lines]


def setting(name):
    (value,) = [value for key, value in settings() if key == name]
    return value


def test_the_command_line_is_one_that_the_program_takes(capsys):
    program, command, *arguments = setting("ExecStart").split()
    assert (program, command, arguments[-1]) == ("/opt/edgevision/bin/edgevision", "run", "$ARGUMENTS")
    with pytest.raises(SystemExit) as ended:
        main([command, *arguments[:-1], "--source", "nowhere.mp4"])
    assert ended.value.code == 1  # the options are fine, the source is missing
    assert '"level":"error"' in capsys.readouterr().err


def test_the_example_in_the_unit_names_options_that_exist(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    known = capsys.readouterr().out
    text = UNIT.read_text() + (ROOT / "docs" / "guides" / "operations.md").read_text()
    elsewhere = (
        "--out",
        "--trust",
        "--minutes",
        "--json",
        "--warm-up",
        "--debug",
        "--system",
        "--shell",
        "--now",
    )
    for option in re.findall(r"--[a-z][a-z-]+", text):
        assert option in known or option in elsewhere, option


def test_exit_codes_are_those_of_the_program():
    assert int(setting("RestartForceExitStatus")) == 128 + signal.SIGHUP
    assert int(setting("SuccessExitStatus")) == 128 + signal.SIGTERM
    assert int(setting("RestartPreventExitStatus")) == UsageError.exit_code


def test_the_watchdog_waits_longer_than_a_stream_may_stall():
    assert setting("Type") == "notify"
    assert float(setting("WatchdogSec")) > STALE_S


def test_the_plans_record_lies_where_the_service_may_write(monkeypatch):
    """``ProtectHome`` hides the user's home; a record there would refuse every plan, at each of 20 starts."""
    environment = dict(value.split("=", 1) for key, value in settings() if key == "Environment")
    monkeypatch.setenv("XDG_STATE_HOME", environment["XDG_STATE_HOME"])
    folder = record_path().parent
    assert str(folder) in [f"/var/lib/{name}" for name in setting("StateDirectory").split()]
    page = (ROOT / "docs" / "guides" / "operations.md").read_text()
    assert f"XDG_STATE_HOME={environment['XDG_STATE_HOME']}" in page
    assert "sudo -u edgevision" in page


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_it(tmp_path):
    here = tmp_path / "edgevision@gate.service"
    here.write_text(UNIT.read_text().replace("/opt/edgevision/bin/edgevision", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(here)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def exit_code(arguments):
    try:
        return main(arguments) or 0
    except SystemExit as ended:
        return ended.code or 0


@pytest.mark.parametrize("outputs", ["into files", "into folders"])
def test_a_second_start_loses_nothing_of_the_first(tmp_path, monkeypatch, outputs):
    monkeypatch.chdir(tmp_path)
    _, command, *arguments = setting("ExecStart").split()
    names = {
        "into files": ["--save-json", "a.jsonl", "--events", "e.jsonl", "--output", "o.mp4"],
        "into folders": ["--save-json", "a", "--events", "e", "--output", "frames/%06d.jpg"],
    }[outputs]
    request = ["--source", "demo", "--max-frames", "20", "--conf", "0.2", "--stats", "s.json", *names]
    (tmp_path / "frames").mkdir()
    contents = []
    for _ in range(3):
        assert exit_code([command, *arguments[:-1], *request]) == 0
        contents.append({path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()})
    first, second, third = contents
    lines = {path: data for path, data in first.items() if path.suffix == ".jsonl"}
    assert len(lines) == 2
    for path, data in lines.items():
        assert third[path].startswith(second[path])
        assert second[path].startswith(data)
    results = next(data for path, data in third.items() if path.name.startswith(("a.jsonl", "demo.edge")))
    assert results.count(b"\n") == 60
    others = [{data for path, data in of_run.items() if path not in lines} for of_run in contents]
    assert others[0] <= others[1] <= others[2]
    assert len(list(tmp_path.rglob("o*.mp4"))) == (3 if outputs == "into files" else 0)
    assert len(list(tmp_path.rglob("*.jpg"))) == (60 if outputs == "into folders" else 0)


def test_what_a_run_does_not_need_is_closed_to_it_and_cameras_and_gpu_are_not():
    names = {name for name, _ in settings()}
    assert setting("CapabilityBoundingSet") == ""
    assert {"NoNewPrivileges", "ProtectSystem", "RestrictNamespaces", "SystemCallFilter"} <= names
    # each of these takes cameras, GPU or the groups that may use them away, or forbids CUDA to compile
    taken = {
        "PrivateDevices",
        "DevicePolicy",
        "DeviceAllow",
        "ProtectClock",
        "PrivateUsers",
        "MemoryDenyWriteExecute",
    }
    assert not names & taken
    assert setting("SupplementaryGroups") == "video render"


def test_systemd_finds_its_exposure_low():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (apt install systemd)")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=40", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "offline" in done.stderr:
        pytest.skip("needs systemd 250 or later")
    assert done.returncode == 0, done.stdout  # 40 stands for 4.0
