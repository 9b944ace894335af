"""The page for Jetsons, which nobody could run here: what can be held against the project is."""

from __future__ import annotations

import re
import shlex

import pytest
from packaging.specifiers import SpecifierSet

from edgevision.cli import main
from edgevision.doctor.gpu import _JETPACK_PYTHON
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "guides" / "jetson.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "docker" / "jetson.Dockerfile").read_text(encoding="utf-8")


def lines() -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_every_command_and_option_of_edgevision_exists(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [shlex.split(line)[1:] for line in lines() if re.match(r"(\.venv/bin/)?edgevision ", line)]
    assert len(commands) >= 6
    for name, *rest in commands:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        shown = capsys.readouterr().out
        assert shown.startswith(f"Usage: edgevision {name} ")
        for option in (word for word in rest if word.startswith("--")):
            assert f"{option} " in shown, (name, option)


def test_the_benchmark_has_the_options() -> None:
    # Options that every benchmark has are in common.py.
    script = "".join((ROOT / "benchmarks" / name).read_text("utf-8") for name in ("gpu.py", "common.py"))
    (line,) = [line for line in lines() if line.startswith("python benchmarks/gpu.py")]
    for option in (word for word in shlex.split(line) if word.startswith("--")):
        assert f'"{option}"' in script


def test_page_and_doctor_name_the_same_pythons() -> None:
    named = {
        tuple(map(int, found.split("."))) for found in re.findall(r"/usr/bin/python([\d.]+) -m venv", PAGE)
    }
    assert named == set(_JETPACK_PYTHON.values())


def test_the_versions_that_were_checked_satisfy_the_project() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = dict(re.findall(r'^    "(av|onnxruntime|opencv-python|numpy|msgspec)(>=[\d.]+)"', text, re.M))
    assert len(wanted) == 5
    for name, specifier in wanted.items():
        found = re.findall(rf"{name}\s+(\d[\d.]*\d)", PAGE)
        assert len(found) == 2, name
        assert all(version in SpecifierSet(specifier) for version in found)


def test_the_dockerfile_copies_what_exists_and_all_of_it() -> None:
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.M) for word in line.split()]
    assert all((ROOT / name).exists() for name in copied)
    # What the wheel is made of
    assert {
        "edgevision",
        "export",
        "calibration",
        "configs",
        "README.md",
        "LICENSE",
        "pyproject.toml",
    } <= set(copied)


def test_what_was_not_run_is_said_first() -> None:
    assert "Nothing on this page was run on a Jetson" in PAGE[:200]
