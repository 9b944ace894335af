"""Absent is told from broken, and the command that installs works where it is printed."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edgevision import extras
from edgevision.errors import DependencyError, EngineError, UsageError
from edgevision.extras import MODULES, import_failure, install_command, local_command, needs_extra
from tests.support.paths import ROOT
from tests.support.project import pyproject

PLAIN = "pip install 'edgevision[track]'"


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What ``direct_url.json`` of the installation says; empty for an index."""
    document: dict[str, object] = {}
    monkeypatch.setattr(extras, "_origin", lambda: document)
    return document


@pytest.fixture
def active(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An activated environment with pip."""
    monkeypatch.setattr(extras.sysconfig, "get_path", lambda name: str(tmp_path / "bin"))
    monkeypatch.setattr(extras.shutil, "which", lambda name: str(tmp_path / "bin" / name))
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: object())
    return tmp_path


@pytest.fixture
def without_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment that uv made, not activated, called from elsewhere; uv is on the PATH."""
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(extras.shutil, "which", lambda name: "/usr/bin/uv" if name == "uv" else None)
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9.1\n")
    monkeypatch.setattr(sys, "prefix", str(environment))
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return environment


def test_every_extra_is_known_with_the_modules_it_brings() -> None:
    listed = pyproject()["project"]["optional-dependencies"]
    assert set(MODULES) == set(listed) - {"all"}
    brings = importlib.metadata.packages_distributions()
    for extra, modules in MODULES.items():
        wanted = {re.split(r"[^\w-]", line)[0].lower() for line in listed[extra]}
        for module in modules:
            owners = {name.lower().replace("_", "-") for name in brings.get(module, ())}
            assert not owners or owners & wanted or extra in ("tensorrt", "tensorrt-rtx", "jetson"), module


def test_an_absent_module_of_the_extra_leads_to_its_installation(active: Path, origin: object) -> None:
    with (
        pytest.raises(UsageError) as caught,
        needs_extra("track", "tracking"),
    ):
        raise ModuleNotFoundError("No module named 'trackers'", name="trackers")
    assert str(caught.value) == f"tracking needs trackers, which is not installed; run: {PLAIN}"
    with pytest.raises(EngineError, match="needs openvino"), needs_extra("openvino", "x", EngineError):
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")


def test_an_absent_module_that_the_extra_does_not_bring_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "their_library.py").write_text("\nimport no_such_module\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(DependencyError) as caught, needs_extra("track", "tracking"):
            import their_library  # type: ignore[import-not-found]  # noqa: F401
    finally:
        sys.path.remove(str(tmp_path))
    place = tmp_path / "their_library.py"
    assert str(caught.value) == f"tracking cannot start: {place}, line 2: No module named 'no_such_module'"


def test_a_name_that_our_own_file_lacks_is_no_missing_extra() -> None:
    with pytest.raises(DependencyError) as caught, needs_extra("train"):
        from edgevision.units import no_such_name  # type: ignore[attr-defined]  # noqa: F401
    assert "this command cannot start" in str(caught.value)
    assert "cannot import name 'no_such_name'" in str(caught.value)
    assert "install" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libcudart.so.13: cannot open shared object file", name="torch._C"),
        ImportError("cannot import name 'GIoU' from 'torch'", name="torch"),
        ModuleNotFoundError("No module named 'torch.newer'", name="torch.newer"),
    ],
)
def test_an_installed_library_that_does_not_load_says_why_first(
    error: ImportError, active: Path, origin: object
) -> None:
    with pytest.raises(DependencyError) as caught, needs_extra("train"):
        raise error
    assert re.search(rf"cannot start: .*{re.escape(str(error))}; if that is", str(caught.value))
    assert "not installed" not in str(caught.value)
    assert str(caught.value).endswith("run: pip install -U 'edgevision[train]'")


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), needs_extra("train"):
        _ = 1 // 0


def test_an_error_without_a_trace_has_no_place() -> None:
    assert import_failure(ImportError("no")) == "no"


def test_an_active_environment_with_pip_gets_the_plain_command(active: Path, origin: object) -> None:
    assert install_command("track") == PLAIN
    assert install_command("track", "-U ") == "pip install -U 'edgevision[track]'"


def test_another_environment_on_the_path_is_not_changed(
    active: Path, origin: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras.shutil, "which", lambda name: f"/somewhere/else/{name}")
    monkeypatch.setattr(sys, "executable", "/opt/my env/bin/python")
    assert install_command("track") == "'/opt/my env/bin/python' -m pip install 'edgevision[track]'"


def test_where_there_is_no_pip_uv_is_named(
    without_pip: Path, origin: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = f"{without_pip}/bin/python"
    assert install_command("track") == f"uv pip install -p {python} 'edgevision[track]'"
    monkeypatch.setenv("VIRTUAL_ENV", str(without_pip))
    assert install_command("track") == "uv pip install 'edgevision[track]'"
    monkeypatch.delenv("VIRTUAL_ENV")
    Path(".venv").symlink_to(without_pip)
    assert install_command("track") == "uv pip install 'edgevision[track]'"
    Path(".venv").unlink()
    monkeypatch.setattr(extras.shutil, "which", lambda name: None)  # uv is known by pyvenv.cfg alone
    assert install_command("track") == f"uv pip install -p {python} 'edgevision[track]'"
    (without_pip / "pyvenv.cfg").unlink()
    installer = f"{python} -m ensurepip && {python} -m pip install"
    assert install_command("track") == f"{installer} 'edgevision[track]'"


def test_a_clone_is_installed_by_its_path(
    active: Path, origin: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "my clone"
    (clone / "sub").mkdir(parents=True)
    origin.update(url=clone.as_uri(), dir_info={"editable": True})
    monkeypatch.chdir(clone)
    assert install_command("track") == "pip install -e '.[track]'"
    monkeypatch.chdir(clone.parent)
    assert install_command("track") == "pip install -e 'my clone[track]'"
    monkeypatch.chdir(clone / "sub")
    assert install_command("track") == f"pip install -e '{clone}[track]'"
    origin.update(dir_info={})
    assert install_command("track") == f"pip install '{clone}[track]'"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"url": "file:///gone/edgevision", "dir_info": {"editable": True}}, "'edgevision[track]'"),
        (
            {"url": "https://example.org/e.git", "vcs_info": {"vcs": "git", "commit_id": "a1"}},
            "'edgevision[track] @ git+https://example.org/e.git@a1'",
        ),
        (
            {"url": "https://example.org/edgevision-1-py3-none-any.whl", "archive_info": {}},
            "'edgevision[track] @ https://example.org/edgevision-1-py3-none-any.whl'",
        ),
    ],
)
def test_what_came_from_elsewhere_is_had_from_there(
    active: Path, origin: dict[str, object], found: dict[str, object], expected: str
) -> None:
    origin.update(found)
    assert install_command("track") == f"pip install {expected}"


def test_a_wheel_is_named_by_its_file(active: Path, origin: dict[str, object], tmp_path: Path) -> None:
    wheel = tmp_path / "edgevision-1-py3-none-any.whl"
    wheel.touch()
    origin.update(url=wheel.as_uri(), archive_info={})
    assert install_command("track") == f"pip install '{wheel}[track]'"


def test_this_checkout_knows_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert shlex.split(install_command("track"))[-2:] == ["-e", ".[track]"]

    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras.importlib.metadata, "distribution", absent)  # PYTHONPATH=clone
    assert shlex.split(install_command("track"))[-2:] == ["-e", ".[track]"]


def test_every_pip_of_a_command_is_replaced_and_nothing_else(without_pip: Path) -> None:
    uv = f"-p {without_pip}/bin/python"
    assert (
        local_command("pip uninstall -y a b && pip install a")
        == f"uv pip uninstall {uv} -y a b && uv pip install {uv} a"
    )
    for other in (
        "sudo apt install python3-pip",
        "python3.12 -m venv .venv && .venv/bin/pip install edgevision",
    ):
        assert local_command(other) == other


@pytest.mark.slow
def test_the_command_works_where_it_is_printed(tmp_path: Path) -> None:
    """A clone, installed into an environment without pip, lacks an extra and gets it by the command."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed beside this Python")
    environment = tmp_path / "env"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "-p", python, "--no-deps", "-e", ROOT], check=True)
    code = "from edgevision.extras import install_command; print(install_command('mqtt'))"
    printed = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    command = shlex.split(printed.stdout)
    assert command[:3] == ["uv", "pip", "install"]
    checked = [str(uv), *command[1:], "--dry-run", "--no-deps"]
    done = subprocess.run(checked, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
