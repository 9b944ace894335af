"""What the benchmarks share: the report of a result, and what is said of the machine."""

import json
import subprocess

import pytest

from edgevision.errors import DataError
from tests.support.benchmarks import load_benchmark
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def common():
    return load_benchmark("common")


def test_a_result_is_printed_and_written(common, tmp_path, capsys):
    path, page = tmp_path / "result.json", tmp_path / "page.md"
    assert common.report(lambda: {"fps": 25.5}, path) == 0
    assert capsys.readouterr().out == path.read_text() == '{\n  "fps": 25.5\n}\n'
    shown = common.report(lambda: {"fps": 25.5}, path, page, lambda result: f"{result['fps']} fps\n")
    assert shown == 0
    assert capsys.readouterr().out == page.read_text() == "25.5 fps\n"
    assert json.loads(path.read_text()) == {"fps": 25.5}


def test_an_error_is_one_line_and_its_exit_code(common, tmp_path, capsys):
    def fails():
        raise DataError("the clip has no frames")

    path = tmp_path / "result.json"
    assert common.report(fails, path) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "error: the clip has no frames\n")
    assert not path.exists()


def test_a_result_that_cannot_be_written_is_an_error(common, tmp_path, capsys):
    assert common.report(lambda: {"fps": 1}, tmp_path / "missing" / "result.json") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: cannot write ")


def test_the_machine_is_described(common):
    machine = common.machine()
    assert machine["processor"]
    assert machine["cores"] >= 1
    assert machine["load_before"] >= 0


def test_the_commit_is_the_checkout_s(common):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if head.returncode:
        pytest.skip("not a git checkout")
    assert head.stdout.startswith(common.commit().removesuffix("-dirty"))
