"""The two TensorRT libraries behind one door, and the one logger of a process."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from edgevision.engines.trt.library import (
    ErrorLog,
    is_installed,
    library_version,
    listening,
    load_library,
    one_line_errors,
    process_logger,
    started,
)
from edgevision.errors import EngineError


class FakeLogger:
    """What a library's ILogger is to us: a base class with severities."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


@pytest.fixture
def library():
    module = types.ModuleType("tensorrt")
    module.ILogger, module.__version__ = FakeLogger, "10.3.0.30"
    return module


@pytest.mark.parametrize(
    ("flavour", "module", "says"),
    [
        ("tensorrt", "tensorrt", "python3-libnvinfer"),
        ("tensorrt-rtx", "tensorrt_rtx", r"\[tensorrt-rtx\]"),
    ],
)
def test_a_missing_library_is_one_line_that_says_how_to_install_it(monkeypatch, flavour, module, says):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(importlib.import_module("sys").modules, module, None)
    assert not is_installed(flavour)
    with pytest.raises(EngineError, match=f"is not installed.*{module}.*{says}") as caught:
        load_library(flavour)
    assert "\n" not in str(caught.value)


def test_a_library_that_is_there_but_broken_says_why(monkeypatch):
    def broken(name):
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: types.SimpleNamespace())
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(EngineError, match=r"TensorRT cannot be loaded \(libnvinfer\.so\.10"):
        load_library("tensorrt")


def test_the_version_leaves_the_build_number_out(library):
    assert library_version(library) == "10.3.0"


def test_one_logger_serves_all_and_listeners_come_and_go(library):
    heard, errors = [], ErrorLog()
    with listening(library, lambda *said: heard.append(said)) as first:
        with listening(library, errors) as second:
            assert first is second is process_logger(library)
            for severity in range(5):
                first.log(severity, f"message {severity}")
        first.log(FakeLogger.ERROR, "nobody counts this")
    first.log(FakeLogger.ERROR, "nobody hears this")
    assert [severity for severity, _ in heard] == ["error", "error", "warning", "info", "verbose", "error"]
    assert errors.errors == ["message 0", "message 1"]
    assert str(errors) == "message 0"


def test_an_error_log_is_one_short_line():
    log = ErrorLog()
    assert str(log) == "no error was logged"
    log("error", "first\n  " + "x" * 400)
    log("error", "second")
    assert str(log).startswith("first xxx")
    assert len(str(log)) == 300


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_while_the_library_loads_is_no_missing_library(tmp_path, monkeypatch, ended) -> None:
    """pybind11 turns whatever ends a module's loading into an ImportError."""
    (tmp_path / "tensorrt.py").write_text(
        f"try:\n    raise {ended!r}\n"
        "except BaseException as error:\n    raise ImportError('initialization failed') from error\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(type(ended)) as caught:
        load_library("tensorrt")
    assert caught.value.args == ended.args


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_while_a_builder_starts_is_no_failure_of_it(ended) -> None:
    def make():
        try:
            raise ended
        except BaseException as error:
            raise TypeError("pybind11::init(): factory function returned nullptr") from error

    with pytest.raises(type(ended)) as caught:
        started(make, "tensorrt", ErrorLog())
    assert caught.value.args == ended.args
    with pytest.raises(type(ended)), one_line_errors("it cannot build", ErrorLog()):
        make()
