"""The engines that run ONNX files directly."""

from __future__ import annotations

from collections.abc import Iterator

from edgevision.doctor.finding import Finding
from edgevision.doctor.machine import Machine

_CUDA_PROBLEM = "m.cuda_problem()"
_ONNX_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def check_onnx_runtime(machine: Machine) -> Iterator[Finding]:
    installed = [name for name in _ONNX_RUNTIMES if name in machine.packages]
    if not installed:
        yield Finding("onnxruntime", "problem", "not installed", "pip install onnxruntime")
        return
    if len(installed) > 1:
        wanted = next((name for name in installed if name != "onnxruntime"), "onnxruntime")
        yield Finding(
            "onnxruntime",
            "problem",
            f"{' and '.join(installed)} overwrite each other's files; only one can be installed",
            f"pip uninstall -y {' '.join(installed)} && pip install {wanted}",
        )
        return
    probe = machine.try_module("onnxruntime", "[m.__version__, m.get_available_providers()]")
    if probe.error:
        yield Finding(
            "onnxruntime",
            "problem",
            f"does not load: {probe.error}",
            f"pip install --force-reinstall {installed[0]}",
        )
        return
    version, providers = probe.value
    is_on_pc = machine.has_nvidia_gpu and not machine.is_jetson
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    found = f"ONNX Runtime {version}, providers: {names}"
    if is_on_pc and "CUDAExecutionProvider" not in providers:
        yield Finding(
            "onnxruntime",
            "note",
            f"{found}; the GPU is not used",
            "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )
        return
    # The provider is named wherever it is built in; whether it loads shows only when a session is opened.
    problem = machine.try_module("edgevision.engines.onnxrt", _CUDA_PROBLEM) if is_on_pc else None
    if problem is not None and (problem.error or problem.value):
        yield Finding(
            "onnxruntime",
            "note",
            f"{found}, of which CUDA does not load: {problem.error or problem.value}",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )
    else:
        yield Finding("onnxruntime", "ok", found)


def check_openvino(machine: Machine) -> Iterator[Finding]:
    if not machine.has_module("openvino"):
        if machine.architecture in ("x86_64", "AMD64"):
            yield Finding(
                "openvino",
                "note",
                "not installed; it runs INT8 models on the CPU faster than ONNX Runtime",
                "pip install 'edgevision[openvino]'",
            )
        return
    probe = machine.try_module("openvino", "[m.__version__, m.Core().available_devices]")
    if probe.error:
        yield Finding(
            "openvino", "problem", f"does not load: {probe.error}", "pip install --force-reinstall openvino"
        )
    else:
        version, devices = probe.value
        yield Finding("openvino", "ok", f"OpenVINO {version.split('-')[0]}, devices: {', '.join(devices)}")
