"""How the engine ``auto`` is chosen: by the machine's hardware and libraries and the type of the file."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.contract.manifest import Precision
from edgevision.extras import install_command

EngineName = Literal["onnxruntime", "onnxruntime-cuda", "openvino", "tensorrt"]


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What is installed on a machine to run models.

    Attributes:
        providers: ONNX Runtime's: ``cpu``, ``cuda``; empty if it is not installed.
        openvino: whether OpenVINO is installed.
        int8_sums: whether the processor accumulates INT8 products exactly (VNNI, or ARM's dot product).
            Otherwise the sum of two products can saturate, which costs accuracy in every fast INT8 kernel.
    """

    providers: tuple[str, ...]
    openvino: bool
    int8_sums: bool = True


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The type of a model file.

    Attributes:
        precision: precision of an ONNX file's core, from its manifest; None for a TensorRT plan.
    """

    precision: Precision | None


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine to try, and the reason."""

    engine: EngineName
    reason: str


def choose_engines(machine: MachineFacts, file: FileFacts) -> tuple[EngineChoice, ...]:
    """The engines to try, best first; never empty."""
    if file.precision is None:
        return (EngineChoice("tensorrt", "the file is a TensorRT plan"),)
    choices = []
    if "cuda" in machine.providers:
        choices.append(EngineChoice("onnxruntime-cuda", "ONNX Runtime has its CUDA provider"))
    on_cpu = f"the model is {file.precision.upper()} and runs on the CPU"
    int8 = file.precision.startswith("int8")
    if machine.openvino and (int8 or not machine.providers):
        why = f"{on_cpu}, where OpenVINO is the fastest" if int8 else "ONNX Runtime is not installed"
        if int8 and not machine.int8_sums:
            why += "; this processor has no VNNI, so sums can saturate ('edgevision parity' measures it)"
        choices.append(EngineChoice("openvino", why))
    if machine.providers or not choices:
        if int8 and not machine.openvino:
            on_cpu += f"; OpenVINO would be faster ({install_command('openvino')})"
        choices.append(EngineChoice("onnxruntime", on_cpu))
    return tuple(choices)


def machine_facts() -> MachineFacts:
    """What is installed on this machine."""
    try:
        from edgevision.engines.onnxrt import installed_providers
    except ImportError:
        providers: tuple[str, ...] = ()
    else:
        providers = installed_providers()
    return MachineFacts(providers, importlib.util.find_spec("openvino") is not None, has_int8_sums())


def has_int8_sums(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor accumulates INT8 products exactly; True if the system does not report it."""
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return True
    # Linux lists x86 under "flags" and ARM under "Features".
    known = "flags" in words or "Features" in words
    return not known or not words.isdisjoint({"avx512_vnni", "avx_vnni", "asimddp"})
