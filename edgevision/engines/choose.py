"""How ``--engine auto`` decides: by what the machine has and what the file is."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.contract.manifest import Precision

EngineName = Literal["onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "openvino", "tensorrt"]


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What a machine has to run models with.

    Attributes:
        providers: of ONNX Runtime: ``cpu``, ``cuda``, ``tensorrt``; empty where it is not installed.
        openvino: whether OpenVINO is installed.
        int8_sums: whether the processor adds INT8 products exactly (VNNI, or ARM's dot product). Without,
            a sum of two can saturate, which costs accuracy in every engine that makes INT8 fast.
    """

    providers: tuple[str, ...]
    openvino: bool
    int8_sums: bool = True


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a model file is.

    Attributes:
        precision: of an ONNX file's core, as its manifest has it; None for a TensorRT plan.
    """

    precision: Precision | None


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine to try, and why."""

    engine: EngineName
    reason: str


def choose_engines(machine: MachineFacts, file: FileFacts) -> tuple[Choice, ...]:
    """The engines to try, the best first; never empty.

    ONNX Runtime's TensorRT provider is never among them: it builds an engine at every start, which takes
    minutes, and ``edgevision compile`` builds one once.
    """
    if file.precision is None:
        return (Choice("tensorrt", "the file is a TensorRT plan"),)
    choices = []
    if "cuda" in machine.providers:
        choices.append(Choice("onnxruntime-cuda", "ONNX Runtime has its CUDA provider here"))
    on_cpu = f"the model is {file.precision.upper()} and runs on the CPU"
    int8 = file.precision.startswith("int8")
    if machine.openvino and (int8 or not machine.providers):
        why = f"{on_cpu}, where OpenVINO is the fastest" if int8 else "ONNX Runtime is not installed"
        if int8 and not machine.int8_sums:
            why += "; this processor has no VNNI, so sums can saturate: 'edgevision parity' shows how much"
        choices.append(Choice("openvino", why))
    if machine.providers or not choices:
        if int8 and not machine.openvino:
            on_cpu += "; OpenVINO would be faster (pip install 'edgevision[openvino]')"
        choices.append(Choice("onnxruntime", on_cpu))
    return tuple(choices)


def machine_facts() -> MachineFacts:
    """What this machine has."""
    try:
        from edgevision.engines.onnxrt import installed_providers
    except ImportError:
        providers: tuple[str, ...] = ()
    else:
        providers = installed_providers()
    return MachineFacts(providers, importlib.util.find_spec("openvino") is not None, has_int8_sums())


def has_int8_sums(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor adds INT8 products exactly; True where the system does not tell."""
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return True
    # Linux lists x86 under "flags" and ARM under "Features".
    known = "flags" in words or "Features" in words
    return not known or not words.isdisjoint({"avx512_vnni", "avx_vnni", "asimddp"})
