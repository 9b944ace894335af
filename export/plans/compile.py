"""An ONNX file of the contract to a TensorRT plan with its JSON beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from edgevision import __version__
from edgevision.contract.model_file import read_sound_manifest
from edgevision.engines.trt.library import library_version, load_library
from edgevision.engines.trt.plan import (
    PLAN_SCHEMA_VERSION,
    Host,
    PlanInfo,
    flavour_name,
    plan_info_path,
    read_plan_info,
    sha256_of,
    write_plan,
)
from edgevision.engines.trt.trust import is_built_here, record_built_plan
from edgevision.errors import EdgeVisionError, ModelError, SinkError, UsageError
from edgevision.export.plans.build import BuildOptions, build
from edgevision.export.plans.layer_dump import turned_to_float
from edgevision.export.plans.progress import Watch, run_watched
from edgevision.export.plans.targets import (
    AUTO,
    BuildMachine,
    DeviceProfile,
    Target,
    check_builds_here,
    find_target,
    this_machine,
)
from edgevision.extras import install_command
from edgevision.files import atomic_path, refuse_existing


@dataclass(frozen=True, slots=True)
class CompileJob:
    """One model for one device.

    Attributes:
        model: the ONNX file.
        plan: the plan to write; its JSON goes beside it.
        target: what to build for.
        options: the user's choices.
        timing_cache: file that keeps what the builder measured, or None.
    """

    model: Path
    plan: Path
    target: Target
    options: BuildOptions = field(default_factory=BuildOptions)
    timing_cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """What :func:`compile_model` did.

    Attributes:
        info: what now lies beside the plan.
        is_reused: the plan was up to date, and nothing was built.
        notes: what the user should know, one line each.
    """

    info: PlanInfo
    is_reused: bool
    notes: tuple[str, ...] = ()


def compile_model(
    model: Path,
    plan: Path,
    target: str = AUTO,
    options: BuildOptions | None = None,
    *,
    timing_cache: Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
    machine: BuildMachine | None = None,
) -> Compiled:
    """Builds a plan and writes it with its JSON, both or none; a plan that is up to date stays as it is.

    Args:
        model: an ONNX file of the contract; its precision is the plan's.
        plan: the plan to write; its JSON goes beside it.
        target: name of a device profile, or ``auto`` for this machine's GPU.
        options: the user's choices.
        timing_cache: file that keeps what the builder measured, for faster builds later.
        overwrite: replace a plan that was built of other things.
        watch: called with the progress.
        machine: this machine; it is looked at where it is not given.

    Raises:
        ModelError: the model is missing, damaged, or not one of ours.
        ExportError: TensorRT cannot take a node of it.
        BuildsOnDeviceError: the target builds on the device only.
        UsageError: there is no such target, or the options do not fit.
        EngineError: the library or the GPU is missing, or cannot build here.
        OutputExistsError, SinkError: the outputs cannot be written.
        KeyboardInterrupt: the user cancelled it; nothing is left behind.
    """
    machine = machine or this_machine()
    found = find_target(target, machine)
    options = _limit_workspace(options or BuildOptions(), found, machine)
    job = CompileJob(model, plan, found, options, timing_cache)
    _check_options(job)
    check_builds_here(job.target, machine)
    # What cannot be written at all must not cost a build; whether it may be replaced is asked below.
    for output in (plan, plan_info_path(plan), *([timing_cache] if timing_cache else [])):
        refuse_existing(output, overwrite=True)
    return _compile(job, machine, overwrite, watch)


def rebuild_plan(plan: Path, watch: Watch | None = None) -> Compiled:
    """Builds a plan again, for this machine, from the ONNX file beside it and with the same options.

    A limit of the scratch memory that comes from another board is lowered to a quarter of the memory here,
    where GPU and processor share it: the larger board's may be all there is.

    Raises:
        ModelError, ManifestError: the plan, its JSON or the ONNX file is missing or damaged.
        EdgeVisionError: whatever :func:`compile_model` raises.
    """
    info = read_plan_info(plan)
    model = plan.with_name(info.onnx_name)
    machine = this_machine()
    workspace_mib = info.workspace_mib
    if workspace_mib is not None and machine.is_integrated and machine.board != info.board:
        workspace_mib = min(workspace_mib, _shared_workspace_mib(machine))
    options = BuildOptions(info.batch, workspace_mib, info.dla_core)
    return compile_model(model, plan, AUTO, options, overwrite=True, watch=watch, machine=machine)


def _compile(job: CompileJob, machine: BuildMachine, overwrite: bool, watch: Watch | None) -> Compiled:
    manifest = read_sound_manifest(job.model)
    data = _read(job.model)
    profile = job.target.profile
    trt = load_library(profile.flavour)
    onnx_sha256 = hashlib.sha256(data).hexdigest()
    is_built_for_here = not profile.builds_anywhere
    gpu = machine.gpu if is_built_for_here else ""
    multiprocessors = machine.multiprocessors if is_built_for_here else 0
    key = _key(onnx_sha256, library_version(trt), gpu, multiprocessors, job)
    int8, notes = _look(data, job.model, profile)
    present = _up_to_date(job.plan, key)
    if present is not None:
        return Compiled(present, is_reused=True, notes=(*notes, *_lost_int8(present, int8)))
    refuse_existing(job.plan, overwrite)
    refuse_existing(plan_info_path(job.plan), overwrite)
    started = time.monotonic()
    built = run_watched(
        lambda progress: build(
            trt, job.model, data, manifest, profile, job.options, progress, _read_cache(job.timing_cache)
        ),
        watch,
    )
    info = PlanInfo(
        manifest=manifest,
        onnx_name=job.model.name,
        onnx_sha256=onnx_sha256,
        flavour=profile.flavour,
        tensorrt_version=library_version(trt),
        target=job.target.name,
        compute_capability=profile.compute_capability,
        gpu=gpu,
        multiprocessors=multiprocessors,
        board=machine.board if is_built_for_here else "",
        batch=built.batch,
        workspace_mib=job.options.workspace_mib,
        dla_core=job.options.dla_core,
        dla_fallback=built.dla_fallback,
        layers=built.layers,
        key=key,
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_seconds=round(time.monotonic() - started, 3),
        host=Host(platform.system(), platform.machine(), platform.python_version(), __version__),
        plan_bytes=len(built.data),
        plan_sha256=hashlib.sha256(built.data).hexdigest(),
    )
    write_plan(job.plan, built.data, info)
    notes = (*notes, *built.notes, *_lost_int8(info, int8), *_record(job.plan, info.plan_sha256))
    if job.timing_cache is not None and built.timing_cache is not None:
        with atomic_path(job.timing_cache) as partial:
            partial.write_bytes(built.timing_cache)
    return Compiled(info, is_reused=False, notes=notes)


def _limit_workspace(options: BuildOptions, target: Target, machine: BuildMachine) -> BuildOptions:
    """A build may take a quarter of a memory that the GPU shares with everything else.

    The library's own limit is all of the GPU's memory, which there is all of the machine's: the system would
    end the build, or what else runs.
    """
    if options.workspace_mib is not None or target.profile.builds_anywhere or not machine.is_integrated:
        return options
    return dataclasses.replace(options, workspace_mib=_shared_workspace_mib(machine))


def _shared_workspace_mib(machine: BuildMachine) -> int:
    return max(1, machine.memory_bytes // 4 >> 20)


def _check_options(job: CompileJob) -> None:
    """Refuses what the device cannot have, wherever it is built."""
    profile, options = job.target.profile, job.options
    if options.dla_core is not None and profile.dla_cores == 0:
        raise UsageError(f"`dla_core` {options.dla_core}: {profile.title} has no DLA; leave `dla_core` out")
    if options.dla_core is not None and profile.dla_cores and options.dla_core >= profile.dla_cores:
        raise UsageError(
            f"`dla_core` {options.dla_core}: {profile.title} has {profile.dla_cores} DLA cores, "
            "counted from 0"
        )
    if job.timing_cache is not None and profile.builds_anywhere:
        raise UsageError(
            "TensorRT for RTX measures nothing when it builds, so it keeps no timing cache; "
            "leave `timing_cache` out"
        )


def _key(onnx_sha256: str, version: str, gpu: str, multiprocessors: int, job: CompileJob) -> str:
    """Hash of all that the plan depends on; its own bytes cannot say, for two equal builds differ in them."""
    profile = job.target.profile
    facts: list[Any] = [
        PLAN_SCHEMA_VERSION,
        onnx_sha256,
        profile.flavour,
        version,
        job.target.name,
        profile.compute_capability,
        gpu,
        multiprocessors,
        msgspec.to_builtins(job.options),
    ]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()


def _up_to_date(plan: Path, key: str) -> PlanInfo | None:
    """What lies beside the plan, if it was built of the same things and is whole."""
    try:
        info = read_plan_info(plan)
        is_same = info.key == key and sha256_of(plan) == info.plan_sha256
        # A stranger's plan can claim any key; its bytes count only where this user built them.
        return info if is_same and is_built_here(info.plan_sha256) else None
    except EdgeVisionError:  # nothing there, or nothing of ours
        return None


def _look(data: bytes, model: Path, profile: DeviceProfile) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Refuses what TensorRT is known to refuse, in our own words.

    Returns:
        Names of the convolutions that are to run in INT8, and a note where they could not be checked.
    """
    try:
        import onnx
    except ModuleNotFoundError:  # a device may have the runtime alone; TensorRT's own parser still looks
        command = install_command("export")
        return (), (f"the model was not checked before the build, which needs onnx; run: {command}",)
    from edgevision.graph.convolutions import int8_convolutions
    from edgevision.graph.lint import require_tensorrt

    graph = onnx.load_model_from_string(data)
    require_tensorrt(graph, str(model), profile.flavour, profile.compute_capability)
    return int8_convolutions(graph.graph), ()


def _lost_int8(info: PlanInfo, int8: tuple[str, ...]) -> tuple[str, ...]:
    """TensorRT for RTX computes INT8 models in float on Turing without saying so, slower than plain FP16."""
    lost = turned_to_float(info.layers, int8)
    if not lost:
        return ()
    library = flavour_name(info.flavour)
    if len(lost) == len(int8):
        return (
            f"none of the {len(int8)} INT8 convolutions runs in INT8 on {info.target}: {library} turned them "
            "to float; an FP16 model is faster there",
        )
    return (
        f"{len(lost)} of the {len(int8)} INT8 convolutions run in float on {info.target}, as {library} "
        f"chose; the first is {lost[0]}",
    )


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model {model}: {error.strerror}") from error


def _read_cache(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise SinkError(f"cannot read the timing cache {path}: {error.strerror}") from error


def _record(plan: Path, plan_sha256: str) -> tuple[str, ...]:
    try:
        record_built_plan(plan, plan_sha256)
    except SinkError as error:  # the plan is whole; loading it only needs `trust`
        return (str(error),)
    return ()
