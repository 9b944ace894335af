"""What the extras bring, how an absent one is told from a broken one, and commands that install them here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgevision.errors import DependencyError, EdgeVisionError, UsageError

MODULES = {
    "demo": ("skimage",),
    "train": (
        *("torch", "torchvision", "onnx", "onnxscript", "pycocotools", "matplotlib", "PIL", "tensorboard"),
    ),
    "export": ("onnx",),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "cuda"),
    "tensorrt-rtx": ("tensorrt_rtx",),
    "jetson": ("cuda",),
    "track": ("trackers",),
    "mqtt": ("paho",),
    "metrics": ("prometheus_client",),
    "web": ("starlette", "uvicorn", "websockets", "prometheus_client"),
    "whip": ("cryptography",),
    "gst": ("gi",),
    "archive": ("pyarrow",),
    "ray": ("ray",),
    "s3": ("fsspec", "s3fs"),
    "rcnn": ("skimage", "sklearn"),
}
"""The top-level modules that each extra of pyproject.toml brings."""


@contextmanager
def needs_extra(
    extra: str, what: str = "this command", kind: type[EdgeVisionError] | None = None
) -> Iterator[None]:
    """Turns a failed import inside the block into one line that says why, and what mends it.

    Only a module that the extra brings leads to the advice to install it. Whatever else cannot be imported, a
    library that is installed and broken or a file of ours, is named with the place and the reason.

    Args:
        extra: as in pyproject.toml, for example ``train``.
        what: what needs it; begins the message.
        kind: the class to raise; by default one of those below.

    Raises:
        UsageError: a module of the extra is not installed.
        DependencyError: something is installed and cannot be loaded.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in MODULES[extra]:
            raise (kind or UsageError)(
                f"{what} needs {error.name}, which is not installed; run: {install_command(extra)}"
            ) from error
        message = f"{what} cannot start: {import_failure(error)}"
        if (error.name or "").partition(".")[0] in MODULES[extra]:
            message += f"; if that is another version than expected, run: {install_command(extra, '-U ')}"
        raise (kind or DependencyError)(message) from error


def import_failure(error: ImportError) -> str:
    """What could not be imported, where, and why: ``street.py, line 3: No module named 'scipy'``."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen"):  # the machinery of imports itself
            place = f"{file}, line {trace.tb_lineno}: "
        trace = trace.tb_next
    return f"{place}{error}"


def install_command(extra: str, options: str = "") -> str:
    """The command that installs an extra into this environment; ``-U`` is pip's option for newer versions.

    >>> install_command("track")  # doctest: +SKIP
    "pip install 'edgevision[track]'"
    """
    return local_command(f"pip install {options}'edgevision[{extra}]'")


def local_command(command: str) -> str:
    """A command of pip as it works in this environment.

    An environment made by uv holds no pip, ``pip`` on the PATH belongs to another one where this one is not
    activated, and what was installed from a clone or a file cannot be had by its name.

    Args:
        command: for example ``pip install 'edgevision[track]'``; what is not pip's stays as it is.
    """
    own = re.compile(r"'edgevision\[([\w,-]+)\]'")
    command = own.sub(lambda found: _requirement(found[1]), command)
    return re.sub(r"(?<![\w/'.-])pip (?=install|uninstall)(\w+)", lambda found: _installer(found[1]), command)


def _installer(verb: str) -> str:
    """``pip install``, or what does the same here."""
    python = shlex.quote(_short(Path(sys.executable)))
    if importlib.util.find_spec("pip") is not None:
        found = shutil.which("pip")
        is_ours = found is not None and Path(found).parent == Path(sysconfig.get_path("scripts"))
        return f"pip {verb}" if is_ours else f"{python} -m pip {verb}"
    if shutil.which("uv") or _is_made_by_uv():
        # uv takes the environment that is active, or .venv where it is called.
        here = (os.environ.get("VIRTUAL_ENV"), ".venv")
        is_found = any(folder and Path(folder).resolve() == Path(sys.prefix).resolve() for folder in here)
        return f"uv pip {verb}" if is_found else f"uv pip {verb} -p {python}"
    return f"{python} -m ensurepip && {python} -m pip {verb}"


def _is_made_by_uv() -> bool:
    try:
        return bool(re.search(r"^uv\s*=", (Path(sys.prefix) / "pyvenv.cfg").read_text(), re.MULTILINE))
    except OSError:
        return False


def _requirement(extra: str) -> str:
    """edgevision with an extra, from where it was installed; the format is that of PEP 610."""
    origin = _origin()
    url, name = str(origin.get("url", "")), f"edgevision[{extra}]"
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return shlex.quote(f"{name} @ {vcs['vcs']}+{url}@{vcs['commit_id']}")
    if not url.startswith("file://"):
        return shlex.quote(f"{name} @ {url}") if url else f"'{name}'"
    path = Path(_from_url(url))
    if not path.exists():
        return f"'{name}'"
    is_editable = origin.get("dir_info", {}).get("editable", False)
    return ("-e " if is_editable else "") + shlex.quote(f"{_short(path)}[{extra}]")


def _origin() -> dict[str, Any]:
    """Where edgevision was installed from; empty for an index."""
    try:
        text = importlib.metadata.distribution("edgevision").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # a clone on PYTHONPATH
        clone = Path(__file__).resolve().parents[1]
        if not (clone / "pyproject.toml").is_file():
            return {}
        return {"url": clone.as_uri(), "dir_info": {"editable": True}}
    return dict(json.loads(text)) if text else {}


def _from_url(url: str) -> str:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(url).path)


def _short(path: Path) -> str:
    """Relative to the current folder where it lies inside it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the current folder is gone
        return str(path)
