"""One build path for TensorRT 10.3, 10.13, 11 and TensorRT for RTX: an ONNX file in, a plan out.

The network is strongly typed, so precision is what the ONNX says and there are no precision flags
(TensorRT 11 has none). Every name of the library that is used here exists in all four releases, except
those of :mod:`edgevision.export.plans.ahead`; ``tests/acceptance/test_tensorrt_api.py`` holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.contract.manifest import INPUT_NAME, Manifest
from edgevision.engines.trt.library import ErrorLog, library_version, listening, one_line_errors, started
from edgevision.engines.trt.plan import BatchRange, PlanLayer, flavour_name
from edgevision.errors import EngineError, ExportError, UsageError
from edgevision.export.plans.ahead import build_for
from edgevision.export.plans.layer_dump import is_layer_dump, parse_layers
from edgevision.export.plans.progress import BuildProgress, progress_monitor
from edgevision.export.plans.targets import DeviceProfile


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a user may choose of a build.

    Attributes:
        batch: batch sizes to build for; None takes 1, or the only one that the model takes.
        workspace_mib: most scratch memory that a layer may take; None leaves it to the library.
        dla_core: core of the deep learning accelerator to run on; None for the GPU.
    """

    batch: BatchRange | None = None
    workspace_mib: int | None = None
    dla_core: int | None = None


@dataclass(frozen=True, slots=True)
class PlanBuild:
    """What a build gives.

    Attributes:
        data: the plan.
        batch: batch sizes that it takes.
        layers: what it consists of.
        dla_fallback: layers that the DLA cannot run.
        timing_cache: what the builder measured, for the next build; None for TensorRT for RTX.
        notes: what the user should know.
    """

    data: memoryview
    batch: BatchRange
    layers: tuple[PlanLayer, ...]
    dla_fallback: tuple[str, ...] = ()
    timing_cache: bytes | None = None
    notes: tuple[str, ...] = ()


class _BuildLog:
    """Keeps what is needed of a log that is otherwise tens of megabytes.

    Attributes:
        errors: what went wrong.
        layers: what the plan consists of.
        dla_layers: what the builder put on a DLA; None where it did not say.
    """

    _DLA_TITLE, _DLA_LAYER = "Layers Running on DLA", "[DlaLayer]"

    def __init__(self) -> None:
        self.errors = ErrorLog()
        self.layers: tuple[PlanLayer, ...] = ()
        self.dla_layers: list[str] | None = None

    def __call__(self, severity: str, message: str) -> None:
        self.errors(severity, message)
        if severity == "verbose" and is_layer_dump(message):
            # Signals and waits between streams are layers for the library only.
            self.layers = tuple(layer for layer in parse_layers(message) if layer.nodes)
        # Which of the two severities depends on the release.
        is_said = severity in ("info", "verbose")
        if is_said and (self._DLA_TITLE in message or self._DLA_LAYER in message):
            found = [line for line in message.splitlines() if self._DLA_LAYER in line]
            self.dla_layers = [*(self.dla_layers or []), *found]


def build(
    trt: Any,
    model: Path,
    data: bytes,
    manifest: Manifest,
    profile: DeviceProfile,
    options: BuildOptions,
    progress: BuildProgress,
    timing_cache: bytes | None = None,
) -> PlanBuild:
    """Builds a plan. It takes seconds to minutes; ``progress`` shows how far it is and stops it.

    Args:
        trt: the library.
        model: name of the ONNX file, for messages.
        data: its bytes.
        manifest: its contract.
        profile: what to build for.
        options: the user's.
        progress: where TensorRT reports to.
        timing_cache: what an earlier build measured, ``b""`` to start one, None to keep none.

    Raises:
        ExportError: TensorRT cannot read the model; the node is named.
        UsageError: the options do not fit the model or the device.
        EngineError: TensorRT cannot build it here.
        KeyboardInterrupt: it was cancelled.
    """
    log = _BuildLog()
    library = f"{flavour_name(profile.flavour)} {library_version(trt)}"
    if options.dla_core is not None:
        _check_dla(library_version(trt), manifest, options.batch)
    with listening(trt, log) as logger:
        builder = started(lambda: trt.Builder(logger), profile.flavour, log.errors)
        with one_line_errors(f"{model}: {library} cannot build it", log.errors):
            network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            parser = trt.OnnxParser(network, logger)
            if options.dla_core is not None:
                _parse_for_dla(trt, parser)
            if not parser.parse(data):
                raise ExportError(f"{model}: {_parser_error(parser)}")
            config = builder.create_builder_config()
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
            monitor = progress_monitor(trt, progress)
            config.progress_monitor = monitor
            if options.workspace_mib is not None:
                config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
            batch = _set_batch(builder, network, config, options.batch, model, log.errors)
            fallback: tuple[str, ...] = ()
            if options.dla_core is not None:
                fallback = _use_dla(trt, builder, network, config, options.dla_core, batch)
            if profile.builds_anywhere:
                build_for(trt, config, profile.compute_capability)
            notes = _use_timing_cache(config, timing_cache)
            plan = builder.build_serialized_network(network, config)
            if progress.is_cancelled:
                raise KeyboardInterrupt
            if plan is None:
                raise EngineError(
                    f"{model}: it cannot be built for {profile.title} ({log.errors}); try a model with fewer "
                    "unusual operators, or a smaller `batch` if memory is short"
                )
            if log.dla_layers == []:
                raise EngineError(f"{model}: {library} put nothing on the DLA, {_LEAVE_DLA_OUT}")
            measured = None if timing_cache is None else _measured(config)
    return PlanBuild(memoryview(plan), batch, log.layers, fallback, measured, notes)


def _parser_error(parser: Any) -> str:
    """The first thing that the parser rejected, with the node's name; what follows it is a consequence."""
    if parser.num_errors == 0:
        return "TensorRT's parser rejects it without a reason; check it with 'edgevision inspect'"
    rejection = parser.get_error(0)
    kind = rejection.node_operator()
    node = f"node '{rejection.node_name()}' ({kind})" if kind else "the model"
    return f"TensorRT cannot take {node}: {' '.join(rejection.desc().split())}"


def _set_batch(
    builder: Any, network: Any, config: Any, batch: BatchRange | None, model: Path, errors: ErrorLog
) -> BatchRange:
    """Gives a model of any batch size a profile; holds one of a fixed size to it."""
    frames = next(
        tensor for tensor in map(network.get_input, range(network.num_inputs)) if tensor.name == INPUT_NAME
    )
    fixed, *sizes = frames.shape
    if fixed > 0:
        only = BatchRange(fixed, fixed, fixed)
        if batch not in (None, only):
            raise UsageError(f"{model} takes batches of {fixed} only; leave `batch` out")
        return only
    batch = batch or BatchRange()
    shapes = [(size, *sizes) for size in (batch.minimum, batch.optimum, batch.maximum)]
    shape_range = builder.create_optimization_profile()
    shape_range.set_shape(INPUT_NAME, *shapes)
    if config.add_optimization_profile(shape_range) < 0:
        raise EngineError(f"{model}: TensorRT refuses the batch sizes {batch} ({errors})")
    return batch


_LEAVE_DLA_OUT = "so the plan would run on the GPU alone; leave `dla_core` out"
_LAST_DLA, _DLA_AGAIN = (10, 7), (11, 4, 1)
"""TensorRT 10.7 was the last with a DLA, 11.4.1 has it again, and takes explicit quantisation there: the
release notes of 10.8, and the migration guide of 11.4.1 for Jetson."""


def _check_dla(version: str, manifest: Manifest, batch: BatchRange | None) -> None:
    """Refuses what no DLA runs, before anything is built.

    Raises:
        UsageError: this TensorRT has no DLA, or the model's precision or the batch sizes are not for one.
    """
    numbers = tuple(map(int, version.split(".")))
    has_again = numbers >= _DLA_AGAIN
    if numbers[:2] > _LAST_DLA and not has_again:
        raise UsageError(
            f"TensorRT {version} has no DLA: 10.7 was the last and 11.4.1 has it again; leave `dla_core` out"
        )
    if manifest.precision == "fp32":
        raise UsageError(
            f"a DLA runs {'FP16 and INT8' if has_again else 'FP16'} only; export the model in FP16 first"
        )
    if manifest.precision.startswith("int8") and not has_again:
        raise UsageError(
            f"the DLA of TensorRT {version} runs FP16 only: quantised models are documented for it from "
            "TensorRT 11.4.1 on; give the FP16 model, or leave `dla_core` out"
        )
    if batch is not None and batch.minimum != batch.maximum:
        raise UsageError(
            f"a DLA needs one batch size, found `batch` {batch}; give the same number three times"
        )


def _parse_for_dla(trt: Any, parser: Any) -> None:
    """Asks for a network that suits a DLA, where the parser knows how."""
    flag = getattr(getattr(trt, "OnnxParserFlag", None), "ADJUST_FOR_DLA", None)
    if flag is not None:
        parser.set_flag(flag)


def _use_dla(
    trt: Any, builder: Any, network: Any, config: Any, core: int, batch: BatchRange
) -> tuple[str, ...]:
    """Puts the network on a DLA core where it can run there; returns the layers that it cannot.

    Raises:
        UsageError: there is no such core, or the model takes several batch sizes.
        EngineError: none of the convolutions can run there.
    """
    if core >= builder.num_DLA_cores:
        raise UsageError(
            f"`dla_core` {core}: this machine's TensorRT sees {builder.num_DLA_cores} DLA cores; "
            "leave `dla_core` out to use the GPU"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
    fallback, convolutions, stays = [], 0, False
    for built_layer in map(network.get_layer, range(network.num_layers)):
        is_convolution = built_layer.type in kinds
        convolutions += is_convolution
        if not config.can_run_on_DLA(built_layer):
            fallback.append(built_layer.name)
        elif is_convolution:
            stays = True
    if not stays:
        raise EngineError(f"the DLA can run none of the {convolutions} convolutions, {_LEAVE_DLA_OUT}")
    return tuple(fallback)


def _use_timing_cache(config: Any, timing_cache: bytes | None) -> tuple[str, ...]:
    """Hands in what an earlier build measured; returns what the user should know."""
    if timing_cache is None:
        return ()
    # Bytes that are no cache give None in some releases, and an empty one in others.
    earlier = config.create_timing_cache(timing_cache)
    if earlier is not None and config.set_timing_cache(earlier, False):
        return ()
    fresh = config.create_timing_cache(b"")
    if fresh is not None:
        config.set_timing_cache(fresh, False)
    return ("the timing cache is another TensorRT's or another GPU's, so a new one is started",)


def _measured(config: Any) -> bytes | None:
    """What the build measured; None where the library keeps nothing."""
    cache = config.get_timing_cache()
    serialized = None if cache is None else cache.serialize()
    return None if serialized is None else bytes(memoryview(serialized))
