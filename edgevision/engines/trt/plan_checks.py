"""Does a plan belong on this machine? Each check says what is wrong and what mends it.

TensorRT would refuse most of these plans too, with a message about serialization; and it would run the
machine code in a plan from a stranger.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgevision.engines.trt.board import board_name
from edgevision.engines.trt.cuda_runtime import Device
from edgevision.engines.trt.plan import PlanInfo, flavour_name, plan_info_path, sha256_of
from edgevision.engines.trt.trust import is_built_here
from edgevision.errors import EngineMismatchError, ModelError


def check_onnx(plan: Path, info: PlanInfo) -> None:
    """Holds a plan against the ONNX file beside it, where that is there.

    Raises:
        EngineMismatchError: the ONNX file is not the one that the plan was built from.
    """
    onnx = plan.with_name(info.onnx_name)
    if onnx.is_file() and sha256_of(onnx) != info.onnx_sha256:
        raise EngineMismatchError(
            f"{plan}: built from another {onnx.name} than the one beside it, which changed since",
            remedy(plan, info),
        )


def read_trusted_plan(plan: Path, info: PlanInfo, trust: bool) -> bytes:
    """The bytes of a plan that may be loaded.

    Args:
        plan: the file.
        info: what stands beside it.
        trust: the user vouches for a plan that was built elsewhere.

    Raises:
        EngineMismatchError: the bytes are not those that were built, or were built elsewhere and nobody
            vouches for them.
        ModelError: the file cannot be read.
    """
    try:
        data = plan.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {plan}: {error.strerror}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != info.plan_sha256:
        raise EngineMismatchError(
            f"{plan}: its bytes are not those that {plan_info_path(plan).name} describes, so it is damaged "
            "or was replaced",
            remedy(plan, info),
        )
    if not (trust or is_built_here(sha256)):
        raise EngineMismatchError(
            f"{plan}: not built here, and a plan holds machine code that would run as you",
            f"pass `trust` if you know where it comes from; {remedy(plan, info)}",
        )
    return data


def check_library(plan: Path, info: PlanInfo, version: str) -> None:
    """Raises :class:`EngineMismatchError` unless the library's version is the one that built the plan."""
    if version != info.tensorrt_version:
        library = flavour_name(info.flavour)
        raise EngineMismatchError(
            f"{plan}: built by {library} {info.tensorrt_version}, but this machine has {version}, and plans "
            "run on the version that built them",
            remedy(plan, info),
        )


def check_device(plan: Path, info: PlanInfo, device: Device) -> None:
    """Raises :class:`EngineMismatchError` unless the GPU is of the kind that the plan was built for.

    TensorRT itself only warns where the compute capability is the same and the GPU is another; it tuned for
    the multiprocessors and the memory that it saw. A plan that was built ahead of time saw none.
    """
    if device.compute_capability != info.compute_capability:
        raise EngineMismatchError(
            f"{plan}: built for compute capability {info.compute_capability} ({info.target}), but the "
            f"{device.name} here has {device.compute_capability}",
            remedy(plan, info),
        )
    if info.gpu and info.gpu != device.name:
        raise EngineMismatchError(
            f"{plan}: built on and for the GPU {info.gpu}, but this machine has {device.name}",
            remedy(plan, info),
        )
    # All GPUs of the Orins are called 'Orin'.
    if info.multiprocessors and info.multiprocessors != device.multiprocessors:
        raise EngineMismatchError(
            f"{plan}: built on and for a GPU of {info.multiprocessors} multiprocessors ({info.target}), but "
            f"the {device.name} here has {device.multiprocessors}",
            remedy(plan, info),
        )


def board_notes(info: PlanInfo) -> tuple[str, ...]:
    """What to say of a plan that was built on another board with the same GPU: clocks and memory differ."""
    here = board_name()
    if not info.board or not here or info.board == here:
        return ()
    return (
        f"the plan was built on '{info.board}' and this is '{here}': building it here may make it faster",
    )


def remedy(plan: Path, info: PlanInfo) -> str:
    """What a user does about a plan that does not fit."""
    if plan.with_name(info.onnx_name).is_file():
        return f"pass `rebuild` to build it again from {info.onnx_name}, with the options it was built with"
    return f"put {info.onnx_name} beside it and pass `rebuild` to build it again on this machine"
