"""Decoding, encoding, capture and display of video."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgevision.doctor.finding import Finding
from edgevision.doctor.machine import Machine

_OPENCVS = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
}
"""Debian and Ubuntu packages of the system libraries that OpenCV's wheels need."""

_DECODERS = ("h264", "hevc", "av1", "vp9", "mjpeg", "mpeg4")
_ENCODERS = ("libx264", "h264_nvenc")
_CODECS = "[m.__version__, [name for name in {} if name in m.codecs_available]]"

_WINDOWS = (
    "[m.__version__, [line.split(':')[1].strip() for line in m.getBuildInformation().splitlines()"
    " if line.strip().startswith('GUI:')]]"
)
"""OpenCV's version and its GUI toolkit."""


def check_opencv(machine: Machine) -> Iterator[Finding]:
    installed = [name for name in _OPENCVS if name in machine.packages]
    if len(installed) > 1:
        yield Finding(
            "opencv",
            "problem",
            f"{' and '.join(installed)} overwrite each other's files; only one can be installed",
            f"pip uninstall -y {' '.join(installed)} && pip install opencv-python",
        )
    probe = machine.try_module("cv2", _WINDOWS)
    if probe.error:
        yield Finding("opencv", "problem", f"OpenCV does not load: {probe.error}", _fix_opencv(probe.error))
        return
    version, windows = probe.value
    if windows in ([], ["NONE"]):
        yield Finding(
            "opencv",
            "note",
            f"OpenCV {version} is built without windows; results cannot be displayed",
            f"pip uninstall -y {' '.join(installed)} && pip install opencv-python",
        )
    else:
        yield Finding("opencv", "ok", f"OpenCV {version}, windows: {windows[0]}")


def _fix_opencv(error: str) -> str:
    library = re.search(r"lib[\w.+-]+\.so[.\d]*", error)
    if library is not None and library[0] in _LIBRARIES:
        # The message names the first missing library; a system without it usually lacks the others too.
        wanted = dict.fromkeys(("libgl1", "libglib2.0-0", _LIBRARIES[library[0]]))
        return f"sudo apt install {' '.join(wanted)}"
    if "No module named" in error:
        return "pip install opencv-python"
    return "pip install --force-reinstall opencv-python numpy"


def check_codecs(machine: Machine) -> Iterator[Finding]:
    probe = machine.try_module("av", _CODECS.format(_DECODERS + _ENCODERS))
    if probe.error:
        if "av" in machine.packages:  # otherwise check_packages reports it
            yield Finding(
                "codecs", "problem", f"PyAV does not load: {probe.error}", "pip install --force-reinstall av"
            )
        return
    version, codecs = probe.value
    decoders = [name for name in codecs if name in _DECODERS]
    encoders = [name for name in codecs if name in _ENCODERS]
    if not machine.has_nvidia_gpu or machine.l4t is not None:
        # Every PyAV wheel contains it, but it needs a graphics card.
        encoders = [name for name in encoders if name != "h264_nvenc"]
    found = f"PyAV {version}, decoders: {_listed(decoders)}; encoders: {_listed(encoders)}"
    if "libx264" not in encoders:
        yield Finding(
            "codecs",
            "problem",
            f"{found}; MP4 output needs libx264",
            "pip install --force-reinstall --only-binary av av",
        )
    else:
        yield Finding("codecs", "ok", found)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def check_gstreamer(machine: Machine) -> Iterator[Finding]:
    """Needed by csi:// and gst:// sources only; on a Jetson it gives access to the video hardware."""
    version = machine.run("gst-inspect-1.0", "--version")
    if version is None:
        yield Finding(
            "gstreamer",
            "note",
            "not found; csi:// and gst:// sources need it, all others do not",
            "sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
            "python3-gi gir1.2-gst-plugins-base-1.0",
        )
        return
    found = (version.splitlines() or ["GStreamer"])[0].replace("gst-inspect-1.0 version", "GStreamer")
    if not machine.has_module("gi"):
        yield Finding(
            "gstreamer",
            "note",
            f"{found}, but no Python bindings; csi:// and gst:// sources need them",
            "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0  # and --system-site-packages",
        )
    else:
        yield Finding("gstreamer", "ok", found)
    if machine.l4t is not None:
        yield from _jetson_elements(machine)


def _jetson_elements(machine: Machine) -> Iterator[Finding]:
    def has(element: str) -> bool:
        return machine.run("gst-inspect-1.0", "--exists", element) is not None

    if not has("nvarguscamerasrc"):
        yield Finding(
            "gstreamer",
            "note",
            "no nvarguscamerasrc; csi:// sources cannot be opened",
            "sudo apt install nvidia-l4t-camera nvidia-l4t-gstreamer",
        )
    if not has("nvv4l2decoder"):
        yield Finding(
            "gstreamer",
            "note",
            "no nvv4l2decoder; video is decoded on the CPU",
            "sudo apt install nvidia-l4t-gstreamer",
        )
    elif "Orin Nano" in machine.board:
        yield Finding("gstreamer", "ok", "nvv4l2decoder; an Orin Nano has no hardware encoder")
    else:
        found = "nvv4l2decoder" + (" and nvv4l2h264enc" if has("nvv4l2h264enc") else "; no nvv4l2h264enc")
        yield Finding("gstreamer", "ok", found)


def check_cameras(machine: Machine) -> Iterator[Finding]:
    devices = machine.files("/dev", "video[0-9]*")
    if not devices:
        yield Finding("cameras", "ok", "none at /dev/video*")
        return
    names = {
        device: machine.read(f"/sys/class/video4linux/{device.removeprefix('/dev/')}/name") or "unnamed"
        for device in devices
    }
    closed = [device for device in devices if not machine.may_use(device)]
    if closed:
        yield Finding(
            "cameras",
            "problem",
            f"no permission to use {', '.join(closed)}",
            'sudo usermod -aG video "$USER"  # then log in again',
        )
    usable = [f"{device} ({name})" for device, name in names.items() if device not in closed]
    if usable:
        yield Finding("cameras", "ok", ", ".join(usable))


def check_display(machine: Machine) -> Iterator[Finding]:
    display = machine.environ.get("WAYLAND_DISPLAY") or machine.environ.get("DISPLAY")
    if display:
        yield Finding("display", "ok", display)
    else:
        yield Finding("display", "ok", "none; results can be written to files, but not displayed")
