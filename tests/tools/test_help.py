"""Every tool says what it does and what its options mean when it is asked, and does nothing else then."""

from __future__ import annotations

import argparse
import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.support.paths import ROOT

TOOLS = ROOT / "tools"
HOOKS = {"docs_docstrings.py", "docs_site.py"}
"""What mkdocs and griffe call."""
SHARED = {"needed.py"}
"""What the programs have in common."""
PROGRAMS = sorted(path.name for path in TOOLS.glob("*.py") if path.name not in HOOKS | SHARED)
BENCHMARKS = sorted(f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.py"))
SOURCED = {"usage.sh"}
"""What the scripts have in common."""
SCRIPTS = sorted(path.name for path in TOOLS.glob("*.sh") if path.name not in SOURCED)
FOLDERS = ("calibration", "configs", "docs", "edgevision", "export", "tests", "tools")


def files() -> dict[str, tuple[int, int]]:
    """Time of change and size of each file of the project but for what Python compiles."""
    found = {}
    for folder in FOLDERS:
        for place, folders, names in os.walk(ROOT / folder):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in names:
                status = os.lstat(os.path.join(place, name))  # noqa: PTH118
                found[f"{place}/{name}"] = status.st_mtime_ns, status.st_size
    return found


def ended(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[object, argparse.ArgumentParser]:
    """The exit code of a tool that is run in a folder, and its parser; fails where it changes a file.

    Files are compared with those at the time when it asks for its arguments: what it imports takes seconds,
    in which another program may have changed one.
    """
    asked: list[tuple[argparse.ArgumentParser, dict[str, tuple[int, int]]]] = []
    parse = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
        asked.append((parser, files()))
        return parse(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOLS / name), run_name="__main__")
    ((parser, before),) = asked
    assert files() == before
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    return end.value.code, parser


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_describes_the_tool_and_each_option_and_does_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (TOOLS / name).read_text(encoding="utf-8")
    assert "parser.parse_args()" in text, "it would do its work"
    code, parser = ended(name, tmp_path, monkeypatch, "--help")
    assert code == 0
    shown = capsys.readouterr().out
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    assert len(first) > 20
    assert " ".join(first.split()) in " ".join(shown.split())
    assert [action.dest for action in parser._actions if not action.help] == []
    assert [action.dest for action in parser._actions if (action.help or "").strip() == action.dest] == []
    assert ended(name, tmp_path, monkeypatch, "--no-such-option")[0] == 2


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_option_of_a_benchmark_has_a_help_text(name: str) -> None:
    """They are read, not run: their parsers come from one place, and some need packages of their own."""
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "parser.add_argument"
    ]
    without = [
        ast.unparse(call) for call in calls if not any(keyword.arg == "help" for keyword in call.keywords)
    ]
    assert without == []


@pytest.mark.parametrize(
    "name", [*(f"tools/{name}" for name in (*PROGRAMS, *sorted(HOOKS | SHARED))), *BENCHMARKS]
)
def test_a_command_in_a_docstring_keeps_its_lines(name: str) -> None:
    """A backslash at the end of a line joins it with the next unless it is written twice."""
    text = (ROOT / name).read_text(encoding="utf-8")
    docstring = ast.get_source_segment(text, ast.parse(text).body[0])
    assert docstring is not None
    assert re.findall(r"(?<!\\)(?:\\\\)*\\\n.*", docstring) == []


@pytest.mark.parametrize(
    ("name", "absent", "line"),
    [
        (
            "mutation.py",
            "cosmic_ray",
            "error: not installed: 'cosmic-ray>=8.7'; uv pip install 'cosmic-ray>=8.7'",
        ),
        ("record_darknet.py", "cv2", "error: cv2 is not installed; try: python -m venv cv4 && "),
        (
            "record_darknet.py",
            "",
            "has no reader of darknet files; expected OpenCV 4, in an environment of its own: ",
        ),
    ],
)
def test_what_make_dev_does_not_install_is_named_with_the_way_to_get_it(
    name: str,
    absent: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if absent:
        monkeypatch.setitem(sys.modules, absent, None)
    else:
        monkeypatch.delattr(cv2.dnn, "readNetFromDarknet", raising=False)  # OpenCV 5 has none
    assert ended(name, tmp_path, monkeypatch)[0] == 1
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_tool_imports_at_its_start_may_be_absent(name: str) -> None:
    """All but Python's own stands in ``with installed():``, which says in one line what is not installed."""
    tree = ast.parse((TOOLS / name).read_text(encoding="utf-8"))
    bare = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {one.partition(".")[0] for one in bare} - sys.stdlib_module_names <= {"needed"}


@pytest.mark.parametrize(
    ("name", "absent", "line"),
    [
        ("match_shares.py", "torch", "error: match_shares.py needs torch, which is not installed; run: "),
        ("ncnn_to_onnx.py", "onnx", "error: ncnn_to_onnx.py needs onnx, which is not installed; run: "),
        ("schemas.py", "PIL", "error: schemas.py needs PIL, which is not installed; run: "),
        ("fuzz_files.py", "av", "error: fuzz_files.py cannot start: "),
        (
            "families_chart.py",
            "edgevision",
            "error: edgevision is not installed; run: make dev; then: .venv/",
        ),
    ],
)
def test_without_the_development_tools_it_ends_in_one_line(
    name: str, absent: str, line: str, tmp_path: Path
) -> None:
    code = f"import runpy, sys; sys.modules[{absent!r}] = None; sys.path.insert(0, {str(TOOLS)!r}); "
    code += f"sys.argv[0] = {name!r}; runpy.run_path({str(TOOLS / name)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_its_head_and_refuses_what_it_does_not_know(name: str, tmp_path: Path) -> None:
    text = (TOOLS / name).read_text(encoding="utf-8")
    assert "/usage.sh" in text, "it would do its work"
    command, before = [str(TOOLS / name)], files()
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.splitlines()[0] == text.splitlines()[1].removeprefix("# ")
    assert f"tools/{name}" in asked.stdout
    short = subprocess.run([*command, "-h"], capture_output=True, text=True, cwd=tmp_path)
    assert (short.returncode, short.stdout) == (0, asked.stdout)
    refused = subprocess.run([*command, "--no-such-option"], capture_output=True, text=True, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == asked.stdout
    assert files() == before
    assert list(tmp_path.iterdir()) == []


def test_hooks_are_no_programs() -> None:
    for name in HOOKS:
        assert "__main__" not in (TOOLS / name).read_text(encoding="utf-8")
