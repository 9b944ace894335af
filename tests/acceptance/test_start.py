"""How the program starts: quickly, and in one line where it is interrupted while it does."""

import subprocess
import sys

import pytest

from edgevision import __main__

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
        __main__.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
