"""What a TensorRT plan was built from and for: the JSON file beside it.

A plan is a raw file that NVIDIA's own tools can load, so what is known of it lies beside it:
``street.engine`` and ``street.engine.json``. Nothing here needs TensorRT or onnx: the runtime, and a
machine without a GPU, read it too.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import msgspec

from edgevision.contract.manifest import Manifest
from edgevision.contract.model_file import decode_manifest
from edgevision.errors import EngineMismatchError, ManifestError, ModelError, UsageError
from edgevision.files import atomic_path, write_json

PLAN_SCHEMA_VERSION = 1

Flavour = Literal["tensorrt", "tensorrt-rtx"]


class BatchRange(msgspec.Struct, frozen=True):
    """The batch sizes that a plan takes, and the one that it is tuned for.

    Raises:
        UsageError: they are not ``1 <= minimum <= optimum <= maximum``.
    """

    minimum: int = 1
    optimum: int = 1
    maximum: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.optimum <= self.maximum:
            raise UsageError(
                f"batch sizes {self}: expected 1 <= MIN <= OPT <= MAX, the least, the usual and the greatest"
            )

    def __str__(self) -> str:
        return f"{self.minimum} {self.optimum} {self.maximum}"


class Host(msgspec.Struct, frozen=True):
    """What kind of machine built a plan; nothing that says which one.

    Attributes:
        system: ``Linux``, ``Windows``.
        machine: ``x86_64``, ``aarch64``.
        python, edgevision: versions.
    """

    system: str
    machine: str
    python: str
    edgevision: str


class PlanLayer(msgspec.Struct, frozen=True):
    """One layer of a plan, as the builder reported it.

    Attributes:
        name: the builder's own.
        kind: the builder's own: ``correlation`` is a convolution in TensorRT for RTX.
        precision: element type of its data input, in NVIDIA's words: ``Int8``, ``Half``, ``Float``.
        nodes: names of the ONNX nodes that went into it.
    """

    name: str
    kind: str
    precision: str
    nodes: tuple[str, ...] = ()


class PlanInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in ``<plan>.json``.

    Attributes:
        manifest: the contract of the model, as in its ONNX file.
        onnx_name: name of the ONNX file, without its folder; it usually lies beside the plan.
        onnx_sha256: of that file, all of it.
        flavour: which library built the plan and must run it.
        tensorrt_version: of that library, such as ``10.3.0``.
        target: what was asked for: ``rtx40``, ``jetson-orin-nano``; ``sm80`` for a GPU without a profile.
        compute_capability: of the GPU that the plan runs on, such as ``8.9``.
        gpu: name of the GPU that built it; empty where it was built ahead of time.
        multiprocessors: of that GPU; 0 where nobody noted it.
        board: what the board that built it calls itself; empty on a PC.
        batch: batch sizes that it takes.
        workspace_mib: most scratch memory that a layer may take, or None for the library's default.
        dla_core: core that the plan runs on, or None for the GPU.
        dla_fallback: layers that the DLA cannot run, which run on the GPU instead.
        layers: what the plan consists of; empty where the builder did not say.
        key: hash of everything that the build depends on; equal keys need no second build.
        built_at: UTC, ISO 8601.
        build_seconds: how long it took.
        host: what kind of machine built it.
        plan_bytes, plan_sha256: of the plan.
        schema: version of this structure.
    """

    manifest: Manifest
    onnx_name: str
    onnx_sha256: str
    flavour: Flavour
    tensorrt_version: str
    target: str
    compute_capability: str
    gpu: str = ""
    multiprocessors: int = 0
    board: str = ""
    batch: BatchRange
    workspace_mib: int | None = None
    dla_core: int | None = None
    dla_fallback: tuple[str, ...] = ()
    layers: tuple[PlanLayer, ...] = ()
    key: str
    built_at: str
    build_seconds: float
    host: Host
    plan_bytes: int
    plan_sha256: str
    schema: int = PLAN_SCHEMA_VERSION

    def describe(self) -> str:
        """One line for people: ``TensorRT for RTX 1.7.1, rtx40 (compute capability 8.9), batch 1 4 8``."""
        dla = "" if self.dla_core is None else f", DLA core {self.dla_core}"
        return (
            f"{flavour_name(self.flavour)} {self.tensorrt_version}, {self.target} "
            f"(compute capability {self.compute_capability}), batch {self.batch}{dla}"
        )


def flavour_name(flavour: Flavour) -> str:
    """The library's name as NVIDIA writes it."""
    return "TensorRT for RTX" if flavour == "tensorrt-rtx" else "TensorRT"


def plan_info_path(plan: str | os.PathLike[str]) -> Path:
    """``street.engine`` to ``street.engine.json``."""
    plan = Path(plan)
    return plan.with_name(plan.name + ".json")


def read_plan_info(plan: str | os.PathLike[str]) -> PlanInfo:
    """Reads what lies beside a plan; the plan's own bytes are not looked at (see :func:`check_plan`).

    Args:
        plan: the plan, not its JSON file.

    Raises:
        ModelError: there is no such plan.
        ManifestError: the JSON file is missing, malformed, or of another version.
    """
    plan = Path(plan)
    if not plan.is_file():
        raise ModelError(f"plan not found: {plan}; check the path or build it with 'edgevision compile'")
    side = plan_info_path(plan)
    try:
        text = side.read_bytes()
    except FileNotFoundError as error:
        raise ManifestError(
            f"{plan}: expected its contract beside it in {side.name}; compile it again"
        ) from error
    except OSError as error:
        raise ManifestError(f"cannot read {side}: {error.strerror}") from error
    return decode_plan_info(text, str(side))


def decode_plan_info(text: bytes, origin: str) -> PlanInfo:
    """Parses and checks the JSON beside a plan.

    Args:
        text: JSON.
        origin: the file it came from, for the message.

    Raises:
        ManifestError: it is malformed, of another version, or its contract contradicts itself.
    """
    try:
        document = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        schema = msgspec.json.decode(document.get("schema", b"0"))
        if schema != PLAN_SCHEMA_VERSION:
            raise ManifestError(
                f"{origin}: plan schema {schema}, but this edgevision reads schema {PLAN_SCHEMA_VERSION}; "
                "compile the model again with this version"
            )
        info = msgspec.json.decode(text, type=PlanInfo)
    except (msgspec.MsgspecError, UsageError) as error:
        raise ManifestError(f"{origin}: it is malformed ({error}); compile the plan again") from error
    decode_manifest(bytes(document["manifest"]), origin)
    return info


def write_plan(plan: str | os.PathLike[str], data: bytes | memoryview, info: PlanInfo) -> None:
    """Writes a plan and the JSON beside it: both, or none.

    Raises:
        SinkError: they cannot be written.
    """
    side = plan_info_path(plan)
    is_new = not side.exists()
    try:
        with atomic_path(plan) as partial:
            partial.write_bytes(data)
            write_json(side, info)
    except BaseException:
        # The JSON took its place and the plan did not. One that replaced another's JSON stays: check_plan
        # notices that it is not that plan's.
        if is_new:
            side.unlink(missing_ok=True)
        raise


def check_plan(plan: str | os.PathLike[str], info: PlanInfo) -> None:
    """Holds a plan's bytes against what lies beside it.

    Raises:
        EngineMismatchError: they are not the bytes that were built.
        ModelError: the plan cannot be read.
    """
    if sha256_of(plan) != info.plan_sha256:
        raise EngineMismatchError(
            f"{plan}: its bytes are not those that {plan_info_path(plan).name} describes, so it is damaged "
            "or was replaced; compile it again"
        )


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        ModelError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()
