"""Checks whether this machine can run edgevision; each problem comes with the command that fixes it.

A check is a small function from a :class:`Machine` to findings, so that tests can simulate broken machines.
The checks need the runtime only; libraries that may fail to load are loaded in separate processes.

Example:
    >>> problems = [finding for finding in examine() if finding.status == "problem"]  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from edgevision.doctor.finding import Finding, Status
from edgevision.doctor.gpu import check_cuda, check_driver, check_jetpack, check_power_mode, check_tensorrt
from edgevision.doctor.inference import check_onnx_runtime, check_openvino
from edgevision.doctor.machine import Machine, Probe
from edgevision.doctor.system import check_disk, check_memory, check_packages, check_python
from edgevision.doctor.video import check_cameras, check_codecs, check_display, check_gstreamer, check_opencv
from edgevision.extras import local_command

__all__ = ["CHECKS", "Finding", "Machine", "Probe", "Status", "examine"]

Check = Callable[[Machine], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    check_python,
    check_packages,
    check_memory,
    check_disk,
    check_driver,
    check_cuda,
    check_jetpack,
    check_power_mode,
    check_tensorrt,
    check_onnx_runtime,
    check_openvino,
    check_opencv,
    check_codecs,
    check_gstreamer,
    check_cameras,
    check_display,
)
"""In the order of the report."""


def examine(machine: Machine | None = None, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Runs the checks, several concurrently, since most of them wait for another process.

    Args:
        machine: the machine to check; this one by default.
        checks: the checks to run; all by default.

    Returns:
        The findings in the order of ``checks``, each as soon as it and all earlier ones are known; at least
        one for each check that applies to this machine. Their commands are written as they work in this
        environment, which may have no pip.
    """
    looked_at = machine or Machine()
    with ThreadPoolExecutor(4) as pool:
        for findings in pool.map(lambda check: list(check(looked_at)), checks):
            for finding in findings:
                yield replace(finding, fix=local_command(finding.fix))
