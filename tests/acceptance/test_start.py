"""How the program starts: quickly, and in one line where it is interrupted while it does; and how it ends.

Also tests ``edgevision.__main__``.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgevision import __main__
from edgevision.__main__ import shield_imports
from tests.support.ending import ORDINARY, WATCHED

HEAVY = ("numpy", "cv2", "av", "onnxruntime", "torch", "onnx", "rich.console")


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_help_loads_none_of_the_large_packages():
    loaded = python("import sys, edgevision.cli; print(*sys.modules)")
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("package", ["edgevision.video", "edgevision.recording", "edgevision.pipeline"])
def test_opencv_is_loaded_before_pyav(package):
    loaded = python(f"import sys, {package}; print(*sys.modules)")
    assert loaded.index("cv2") < loaded.index("av")


def test_ctrl_c_while_it_loads_is_one_line(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "edgevision.cli":
                raise KeyboardInterrupt

    for name in [name for name in sys.modules if name.startswith("edgevision.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        __main__.run_program()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


ENDING = """
import atexit, sys, tempfile, threading, time
from edgevision import __main__, cli

def run():
    global folder
    folder = tempfile.TemporaryDirectory(dir=".")
    atexit.register(print, "registered")
    threading.Thread(target=lambda: (time.sleep(0.2), print("waited for"))).start()
    {thread}
    print("printed")
    raise SystemExit({code})

cli.main = run
__main__.main()
"""
LEFT_BEHIND = "threading.Thread(target=libc.sleep, args=(600,), daemon=True).start()"
"""A thread that is within a library and does not come back."""


def end(tmp_path, code, thread, stdout=subprocess.PIPE):
    command = [sys.executable, "-c", WATCHED + ENDING.format(code=repr(code), thread=thread)]
    held = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # until the end
    return subprocess.run(
        command, cwd=tmp_path, env=held, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("code", "status", "said"), [(130, 130, ""), (None, 0, ""), (0, 0, ""), ("a reason", 1, "a reason\n")]
)
def test_a_thread_that_never_ends_is_not_met_by_what_python_takes_apart(tmp_path, code, status, said):
    done = end(tmp_path, code, LEFT_BEHIND)
    assert (done.returncode, done.stderr) == (status, said)
    assert done.stdout == "printed\nwaited for\nregistered\n"
    assert list(tmp_path.iterdir()) == []  # the temporary folder was removed


def test_without_such_a_thread_the_end_is_the_ordinary_one(tmp_path):
    done = end(tmp_path, 130, "")
    assert (done.returncode, done.stderr) == (ORDINARY, "")
    assert done.stdout == "printed\nwaited for\nregistered\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(("code", "status"), [(0, 1), (3, 3)])
def test_what_is_printed_and_lost_is_a_failure(tmp_path, code, status):
    with Path("/dev/full").open("w") as full:
        done = end(tmp_path, code, LEFT_BEHIND, stdout=full)
    assert (done.returncode, done.stderr) == (status, "")


PROGRAM = (Path(sys.executable).with_name("edgevision"),)
BY_MODULE = (sys.executable, "-m", "edgevision")

# What python -m loads before it comes to edgevision, measured; no program can do anything about these.
LOADED_BY_PYTHON = """
import subprocess, sys
code = "import sys; print(*sys.modules)"
print(subprocess.run([sys.executable, "-c", "import runpy; " + code], capture_output=True, text=True).stdout)
"""


@pytest.fixture
def crowded(tmp_path):
    """A folder with a namesake of each library, and of each module of Python's that is loaded late enough."""
    early = set(python(LOADED_BY_PYTHON))
    late = {name for name in sys.stdlib_module_names if not name.startswith("_")} - early
    standard = {name for name in late if find_spec(name)}  # some are Windows's
    ours = {"export", "calibration", "zones", "cli", "video", "models", "config"}
    libraries = {
        "numpy",
        "cv2",
        "av",
        "onnxruntime",
        "typer",
        "click",
        "rich",
        "msgspec",
        "yaml",
        "torch",
        "onnx",
    }
    assert {"queue", "logging", "json", "random"} <= standard
    for name in standard | ours | libraries:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the current folder was run')\n")
    (tmp_path / "trackers").mkdir()  # a folder of a library's name is a package, too
    return tmp_path


def call(command, folder, **environment):
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,  # torch takes long to load on a busy machine
    )


@pytest.mark.parametrize("environment", [{}, {"PYTHONPATH": "."}], ids=["plain", "PYTHONPATH"])
@pytest.mark.parametrize("start", [PROGRAM, BY_MODULE], ids=["program", "module"])
def test_files_of_the_current_folder_are_not_taken_for_libraries(crowded, start, environment):
    if environment and start is BY_MODULE:  # Python's own start reads PYTHONPATH, so only our names are safe
        for path in crowded.glob("*.py"):
            if path.stem in sys.stdlib_module_names:
                path.unlink()
    done = call((*start, "run", "--source", "nothing.mp4"), crowded, **environment)
    assert done.stderr.startswith("error: source not found: nothing.mp4")
    done = call((*start, "export", "nothing.onnx", "--out", "net.onnx"), crowded, **environment)
    assert "error: model file not found: nothing.onnx" in done.stderr


@pytest.mark.slow
def test_torchrun_finds_the_program_in_a_crowded_folder(crowded):
    torchrun = (sys.executable, "-P") if sys.version_info >= (3, 11) else (sys.executable,)
    launcher = (*torchrun, "-c", "from torch.distributed.run import main; main()")
    done = call((*launcher, "--nproc-per-node", "1", "-m", "edgevision", "train", "none.yaml"), crowded)
    assert "error: configuration file not found: none.yaml" in done.stderr


def test_a_users_types_stops_python_itself_and_not_the_program(tmp_path):
    (tmp_path / "types.py").write_text("")
    done = call((*PROGRAM, "export", "nothing.onnx", "--out", "net.onnx"), tmp_path)
    assert "error: model file not found: nothing.onnx" in done.stderr


@pytest.mark.parametrize(
    ("by_module", "before", "after"),
    [
        (True, ["{here}", "lib"], ["lib"]),
        (True, ["{here}", "{here}", "lib"], ["lib", "{here}"]),  # PYTHONPATH=. beside -m
        (False, ["bin", "{here}", "lib"], ["bin", "lib", "{here}"]),
        (False, ["bin", "lib"], ["bin", "lib"]),
        (True, [], []),
    ],
)
def test_the_search_goes_through_the_current_folder_last(tmp_path, monkeypatch, by_module, before, after):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry.format(here=tmp_path) for entry in before])
    shield_imports(by_module)
    assert sys.path == [entry.format(here=tmp_path) for entry in after]


def test_a_clone_and_a_folder_that_is_gone_leave_the_search_as_it_is(tmp_path, monkeypatch):
    clone = str(Path(__main__.__file__).parents[1])
    monkeypatch.chdir(clone)
    monkeypatch.setattr(sys, "path", [clone, "lib"])
    shield_imports(True)
    assert sys.path == [clone, "lib"]
    monkeypatch.setattr(os, "getcwd", lambda: (_ for _ in ()).throw(FileNotFoundError()))
    shield_imports(True)
    assert sys.path == [clone, "lib"]
