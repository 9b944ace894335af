"""A stand-in for the module ``tensorrt`` whose plans run on :class:`tests.support.cuda_fake.FakeCuda`.

A plan is JSON that says what TensorRT would find in it. The engine answers as ``FakeEngine`` does, from
the bytes at the addresses it was given and in the shape that was set when the work was enqueued, so a
graph that outlives a change of shape, an address that was not renewed and a missing copy all give wrong
answers. It keeps TensorRT's rules: shapes lie in the profile, the first request after a change of shape
cannot be captured, what fails returns False or None and logs, what throws is a RuntimeError, a constructor
that gives null and an argument of another type are a TypeError.

The builder reads the ONNX, says of each convolution what it computes it in, as the file has it, in either
library's spelling, and gives such a plan. What a plan or a build is to break at is in its facts.

Names, parameters and refusals are held against the bindings by ``tests/engines/trt/test_bindings.py``.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import inspect
import json
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgevision.contract.model_file import METADATA_KEY, decode_manifest
from edgevision.engines.fake import FakeEngine
from tests.support.cuda_fake import FakeCuda


def fake_plan(manifest_json: bytes, **changes: Any) -> bytes:
    """The bytes of a plan that takes batches of 1 to 4."""
    facts = {
        "manifest": manifest_json.decode(),
        "batch": [1, 2, 4],
        "readable": True,
        "capturable": True,
        "dla_cores": 0,
    }
    return json.dumps({**facts, **changes}).encode()


class DataType(enum.Enum):
    FLOAT = np.float32
    INT32 = np.int32
    UINT8 = np.uint8


_DataType = DataType


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


_ILogger = ILogger


class DeviceType(enum.Enum):
    GPU = 0
    DLA = 1


class BuilderFlag(enum.Enum):
    GPU_FALLBACK = 1


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ProfilingVerbosity(enum.Enum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class OnnxParserFlag(enum.Enum):
    ADJUST_FOR_DLA = 4


class LayerType(enum.Enum):
    CONVOLUTION = 0
    DECONVOLUTION = 7
    ELEMENTWISE = 10


def _typed(method: Callable[..., Any]) -> Callable[..., Any]:
    """Refuses arguments that are not of the types in the method's signature, as pybind11 does."""
    signature = inspect.signature(method)
    parameters = list(signature.parameters.values())[1:]

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        message = (
            f"{method.__name__}(): incompatible function arguments. The following argument types are ..."
        )
        try:
            bound = signature.bind(self, *arguments, **named).arguments
        except TypeError as error:
            raise TypeError(message) from error
        for parameter in parameters:
            kinds = _KINDS[parameter.annotation]
            if parameter.name in bound and not isinstance(bound[parameter.name], kinds):
                raise TypeError(message)
        return method(self, *arguments, **named)

    return call


class FakeTensorRt:
    """The module: ``trt.Runtime`` and so on.

    Args:
        cuda: the CUDA runtime that its engines run on.
        version: as the module reports it.
        for_cuda: the CUDA that it is built for; an older driver lets nothing start.
        spelling: how the builder lists the layers: ``"tensorrt"`` or ``"rtx"``.
        dla_cores: of the machine.
        dla_lists: whether the builder says what it put on a DLA.
        facts: of every plan that its builder gives, and what the builder breaks at: ``"build_logs"`` (it
            fails with this error), ``"build_raises"``, ``"int8_lost"`` (it turns INT8 to float),
            ``"dla_takes"`` (kinds of layers).

    Attributes:
        loggers: of each runtime and builder that was made.
        compiled: how many kernels were compiled when contexts were made: TensorRT for RTX only.
    """

    DataType: TypeAlias = _DataType
    TensorIOMode = TensorIOMode
    ILogger: TypeAlias = _ILogger
    DeviceType = DeviceType
    BuilderFlag = BuilderFlag
    MemoryPoolType = MemoryPoolType
    ProfilingVerbosity = ProfilingVerbosity
    NetworkDefinitionCreationFlag = NetworkDefinitionCreationFlag
    OnnxParserFlag = OnnxParserFlag
    LayerType = LayerType

    class IProgressMonitor:
        """Whoever builds derives from it."""

    def __init__(
        self,
        cuda: FakeCuda,
        version: str = "10.3.0.30",
        *,
        for_cuda: int = 12000,
        spelling: str = "tensorrt",
        dla_cores: int = 2,
        dla_lists: bool = True,
        **facts: Any,
    ) -> None:
        self.__version__ = version
        self.cuda, self.for_cuda = cuda, for_cuda
        self.spelling, self.dla_cores, self.dla_lists = spelling, dla_cores, dla_lists
        self.facts = {"dla_takes": ("CONVOLUTION",), **facts}
        self.loggers: list[Any] = []
        self.contexts: list[IExecutionContext] = []
        self.compiled = 0

    def nptype(self, trt_type: DataType) -> Any:
        return trt_type.value

    def Runtime(self, logger: ILogger) -> Runtime:  # noqa: N802 (a class of the module)
        self._start(logger)
        return Runtime(self, logger)

    def Builder(self, logger: ILogger) -> Builder:  # noqa: N802
        self._start(logger)
        return Builder(self, logger)

    def OnnxParser(self, network: INetworkDefinition, logger: ILogger) -> OnnxParser:  # noqa: N802
        return OnnxParser(network, logger)

    def _start(self, logger: ILogger) -> None:
        if not isinstance(logger, ILogger):
            raise TypeError("__init__(): incompatible constructor arguments. The following ...")
        self.loggers.append(logger)
        if self.cuda.driver < self.for_cuda // 1000 * 1000:
            logger.log(
                ILogger.ERROR, "CUDA initialization failure with error: 35. Please check your CUDA ..."
            )
            raise TypeError("pybind11::init(): factory function returned nullptr")


class Builder:
    def __init__(self, module: FakeTensorRt, logger: ILogger) -> None:
        self._module, self._logger = module, logger
        self.num_DLA_cores = module.dla_cores

    @_typed
    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED), "precision is the ONNX's"
        return INetworkDefinition()

    @_typed
    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._module, self._logger)

    @_typed
    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    @_typed
    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        facts = self._module.facts
        if "build_raises" in facts:
            raise RuntimeError(facts["build_raises"])
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            for step in range(2):
                if not monitor.step_complete("Building", step):
                    return None
            monitor.phase_finish("Building")
        if "build_logs" in facts:
            self._logger.log(ILogger.ERROR, facts["build_logs"])
            return None
        self._say_dla(network, config)
        if config.profiling_verbosity is ProfilingVerbosity.DETAILED:
            lines = [self._dump(layer) for layer in network._layers]
            self._logger.log(ILogger.VERBOSE, "\n".join(["Layers:", *lines]))
        batch = [network.get_input(0).shape[0]] * 3 if config._profile is None else config._profile
        return IHostMemory(fake_plan(network._manifest, batch=list(batch), **facts))

    def _say_dla(self, network: INetworkDefinition, config: IBuilderConfig) -> None:
        if config.default_device_type is not DeviceType.DLA or not self._module.dla_lists:
            return
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        self._logger.log(ILogger.INFO, "---------- Layers Running on DLA ----------")
        for layer in layers:
            if config.can_run_on_DLA(layer):
                self._logger.log(ILogger.INFO, f"[DlaLayer] {{ForeignNode[{layer.name}]}}")
        self._logger.log(ILogger.INFO, "---------- Layers Running on GPU ----------")
        for layer in layers:
            if not config.can_run_on_DLA(layer):
                self._logger.log(ILogger.INFO, f"[GpuLayer] {layer.type.name}: {layer.name}")

    def _dump(self, layer: ILayer) -> str:
        """A line of the list of layers; what the types look like is what the two libraries differ in."""
        precision = "Float" if self._module.facts.get("int8_lost") else layer._precision
        name, inside = f"{layer.name}_myl0_1", "Dimensions: [-1,3,8,8]"
        metadata = f"TacticName: t, StreamId: 0, Metadata: [ONNX Layer: {layer.name}]"
        if self._module.spelling == "rtx":
            kind = "correlation" if layer.type is LayerType.CONVOLUTION else "kgen"
            tensor = f"{{ Name: x, {inside}, Datatype: {precision}, Format: (NHWC) Channel major format }}"
            inputs = f"Inputs: [ {tensor}], Constants: [], Outputs: []"
            return f"Name: {name}, LayerType: {kind}, {inputs}, {metadata}"
        kind = "CaskConvolution" if layer.type is LayerType.CONVOLUTION else "PointWiseV2"
        form = {
            "Int8": "Thirty-two wide channel vectorized row major Int8 format",
            "Half": "Channel major FP16 format where channel % 8 == 0",
            "Float": "Row major linear FP32",
        }[precision]
        tensor = f"{{ Name: x, Location: Device, {inside}, Format/Datatype: {form} }}"
        return f"Name: {name}, LayerType: {kind}, Inputs: [ {tensor}], Outputs: [ {tensor}], {metadata}"


class INetworkDefinition:
    def __init__(self) -> None:
        self._inputs: list[ITensor] = []
        self._layers: list[ILayer] = []
        self._manifest = b""

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    @_typed
    def get_input(self, index: int) -> ITensor | None:
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    @_typed
    def get_layer(self, index: int) -> ILayer | None:
        return self._layers[index] if 0 <= index < len(self._layers) else None


class ITensor:
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape


class ILayer:
    def __init__(self, name: str, kind: LayerType, precision: str) -> None:
        self.name, self.type = name, kind
        self._precision = precision


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text

    def node_name(self) -> str:
        return ""

    def node_operator(self) -> str:
        return ""


class OnnxParser:
    """Reads what a plan of the stand-in needs: inputs, names and kinds of nodes, and the contract."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []
        self._flags: list[OnnxParserFlag] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    @_typed
    def get_error(self, index: int) -> ParserError | None:
        return self._errors[index] if index < len(self._errors) else None

    @_typed
    def set_flag(self, flag: OnnxParserFlag) -> None:
        self._flags.append(flag)

    @_typed
    def parse(self, model: bytes, path: str | None = None) -> bool:
        import onnx  # what runs a plan needs no onnx, and the day on a device has none to spare
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            graph = onnx.load_model_from_string(bytes(model))
        except DecodeError:
            self._errors.append(ParserError("Failed to parse the ONNX model."))
            self._logger.log(ILogger.ERROR, "MODEL_DESERIALIZE_FAILED: Failed to parse the ONNX model.")
            return False
        entries = {entry.key: entry.value for entry in graph.metadata_props}
        self._network._manifest = entries[METADATA_KEY].encode()
        for value in graph.graph.input:
            sizes = tuple(size.dim_value or -1 for size in value.type.tensor_type.shape.dim)
            self._network._inputs.append(ITensor(value.name, sizes))
        self._network._layers.extend(_layers(graph.graph))
        return True


def _layers(graph: Any) -> Iterator[ILayer]:
    """Every node; a convolution is in INT8 where its input comes from a DequantizeLinear."""
    quantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    kinds = {"Conv": LayerType.CONVOLUTION, "ConvTranspose": LayerType.DECONVOLUTION}
    for node in graph.node:
        kind = kinds.get(node.op_type, LayerType.ELEMENTWISE)
        is_int8 = kind is LayerType.CONVOLUTION and node.input[0] in quantised
        yield ILayer(node.name, kind, "Int8" if is_int8 else "Float")


class IOptimizationProfile:
    def __init__(self) -> None:
        self._shapes: list[tuple[int, ...]] = []

    @_typed
    def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]) -> None:
        if not all(isinstance(size, int) for shape in (min, opt, max) for size in shape):
            raise TypeError("set_shape(): incompatible function arguments. The following ...")
        self._shapes = [min, opt, max]


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self._data = data

    @_typed
    def serialize(self) -> IHostMemory:
        return IHostMemory(self._data or b"measured")


class IBuilderConfig:
    def __init__(self, module: FakeTensorRt, logger: ILogger) -> None:
        self._module, self._logger = module, logger
        self._profile: list[int] | None = None
        self._cache: ITimingCache | None = None
        self._limits: dict[MemoryPoolType, int] = {}
        self._flags: list[BuilderFlag] = []
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.progress_monitor: Any = None
        self.default_device_type = DeviceType.GPU
        self.DLA_core = -1

    @_typed
    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.append(flag)

    @_typed
    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        if pool_size < 0:
            raise TypeError("set_memory_pool_limit(): incompatible function arguments. The following ...")
        self._limits[pool] = pool_size

    @_typed
    def add_optimization_profile(self, profile: IOptimizationProfile | None) -> int:
        if profile is None or not profile._shapes or sorted(profile._shapes) != profile._shapes:
            self._logger.log(ILogger.ERROR, "addOptimizationProfile: (condition: profile->isValid())")
            return -1
        self._profile = [shape[0] for shape in profile._shapes]
        return 0

    @_typed
    def can_run_on_DLA(self, layer: ILayer | None) -> bool:  # noqa: N802
        return layer is not None and layer.type.name in self._module.facts["dla_takes"]

    @_typed
    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if serialized_timing_cache.startswith(b"garbage"):
            self._logger.log(ILogger.ERROR, "Failed to deserialize timing cache.")
            return None
        return ITimingCache(serialized_timing_cache)

    @_typed
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._data.startswith(b"other GPU") and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    @_typed
    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class IHostMemory(bytes):
    """Memory of the library; only its bytes are to be had."""

    @property
    def nbytes(self) -> int:
        return len(self)


class Runtime:
    def __init__(self, module: FakeTensorRt, logger: ILogger) -> None:
        self._module, self._logger = module, logger
        self.DLA_core = -1
        self.num_DLA_cores = module.dla_cores

    @_typed
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        facts = json.loads(serialized_engine)
        if "load_warning" in facts:
            self._logger.log(ILogger.WARNING, facts["load_warning"])
        if not facts["readable"]:
            message = (
                "IRuntime::deserializeCudaEngine: Error Code 1: Serialization\n (magic tag does not match)"
            )
            self._logger.log(ILogger.ERROR, message)
            return None
        kind = RtxCudaEngine if facts.get("rtx") else ICudaEngine
        return kind(self._module, self._logger, facts)


class ICudaEngine:
    def __init__(self, module: FakeTensorRt, logger: ILogger, facts: dict[str, Any]) -> None:
        self._module, self._logger, self._facts = module, logger, facts
        manifest = decode_manifest(facts["manifest"], "plan")
        self._model = FakeEngine(manifest=manifest)
        self._inputs = {spec.name: spec for spec in self._model.inputs}
        self._specs = {**self._inputs, **{spec.name: spec for spec in self._model.outputs}}
        self._batch = facts["batch"]

    @property
    def num_io_tensors(self) -> int:
        return len(self._specs)

    def get_tensor_name(self, index: int) -> str:
        return list(self._specs)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return next(kind for kind in DataType if np.dtype(kind.value) == self._specs[name].dtype)

    def get_tensor_shape(self, name: str) -> list[int]:
        least, _, most = self._batch
        batch = most if least == most else -1
        return [batch, *(size or 0 for size in self._specs[name].shape[1:])]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        assert name in self._inputs
        assert profile_index == 0
        return [[batch, *self.get_tensor_shape(name)[1:]] for batch in self._batch]

    def create_execution_context(self) -> IExecutionContext | None:
        if self._facts.get("no_memory"):
            self._logger.log(ILogger.ERROR, "Requested amount of GPU memory could not be allocated")
            return None
        context = IExecutionContext(self, self._module, self._logger)
        self._module.contexts.append(context)
        return context


class RtxCudaEngine(ICudaEngine):
    """Of TensorRT for RTX: it compiles kernels when a context is made, but for those in a cache."""

    def create_runtime_config(self) -> IRuntimeConfig | None:
        return None if self._facts.get("no_cache") else IRuntimeConfig()

    def create_execution_context(
        self, runtime_config: IRuntimeConfig | None = None
    ) -> IExecutionContext | None:
        cache = None if runtime_config is None else runtime_config.get_runtime_cache()
        if cache is None or not cache._kernels:
            self._module.compiled += 1
        if cache is not None:
            cache._kernels = b"kernels for this GPU"
        return super().create_execution_context()


class IRuntimeCache:
    def __init__(self) -> None:
        self._kernels = b""

    @_typed
    def serialize(self) -> IHostMemory:
        return IHostMemory(self._kernels)

    @_typed
    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"kernels"):
            return False
        self._kernels = bytes(blob)
        return True


class IRuntimeConfig:
    def __init__(self) -> None:
        self._cache: IRuntimeCache | None = None

    @_typed
    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    @_typed
    def set_runtime_cache(self, cache: IRuntimeCache | None = None) -> bool:
        self._cache = cache
        return True

    @_typed
    def get_runtime_cache(self) -> IRuntimeCache | None:
        return self._cache


class IExecutionContext:
    def __init__(self, engine: ICudaEngine, module: FakeTensorRt, logger: ILogger) -> None:
        self._engine, self._cuda, self._logger = engine, module.cuda, logger
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._ran_at_this_shape = False

    @_typed
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        if not least[0] <= shape[0] <= most[0] or list(shape[1:]) != least[1:]:
            self._logger.log(ILogger.ERROR, f"Runtime dimension does not satisfy any profile: {shape}")
            return False
        self._shapes[name] = tuple(shape)
        self._ran_at_this_shape = False
        return True

    def infer_shapes(self) -> list[str]:
        if "shapes_raise" in self._engine._facts:
            raise RuntimeError(self._engine._facts["shapes_raise"])
        return self._unset()

    def _unset(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    @_typed
    def get_tensor_shape(self, name: str) -> list[int]:
        batch = self._shapes[next(iter(self._engine._inputs))][0]
        shape = [batch, *self._engine.get_tensor_shape(name)[1:]]
        return [*shape[:1], *[-1] * len(shape[1:])] if name == self._engine._facts.get("open") else shape

    @_typed
    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory != 0

    @_typed
    def execute_async_v3(self, stream_handle: int) -> bool:
        stream = self._cuda.stream(stream_handle)
        if set(self._addresses) != set(self._engine._specs) or self._unset():
            self._logger.log(ILogger.ERROR, "Address is not set for every tensor")
            return False
        capturing = stream.captured is not None
        if capturing and not (self._ran_at_this_shape and self._engine._facts["capturable"]):
            stream.capture_is_spoilt = True
            self._logger.log(
                ILogger.ERROR, "operation would make the legacy stream depend on a capturing one"
            )
            return False
        self._ran_at_this_shape = True
        addresses = dict(self._addresses)
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in self._engine._specs}

        def run() -> None:
            specs = self._engine._specs
            views = {
                name: _view(self._cuda, addresses[name], shapes[name], spec.dtype)
                for name, spec in specs.items()
            }
            answers = self._engine._model.infer({name: views[name] for name in self._engine._inputs})
            for name, array in answers.items():
                views[name][...] = array

        stream.add(run)
        return True


def _view(cuda: FakeCuda, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    size = int(np.prod(shape)) * dtype.itemsize
    assert cuda.on_device(address, size), "the buffer was freed, or is smaller than the tensor"
    data = memoryview((ctypes.c_ubyte * size).from_address(address))
    view: NDArray[Any] = np.frombuffer(data, dtype)
    return view.reshape(shape)


# What pybind11 takes for an annotation.
_KINDS: dict[str, Any] = {
    "int": int,
    "bool": bool,
    "str": str,
    "str | None": (str, types.NoneType),
    "bytes": (bytes, bytearray, memoryview),
    "tuple[int, ...]": (tuple, list),
    "OnnxParserFlag": OnnxParserFlag,
    "BuilderFlag": BuilderFlag,
    "MemoryPoolType": MemoryPoolType,
    "INetworkDefinition": INetworkDefinition,
    "IBuilderConfig": IBuilderConfig,
    "IOptimizationProfile | None": (IOptimizationProfile, types.NoneType),
    "ILayer | None": (ILayer, types.NoneType),
    "ITimingCache": ITimingCache,
    "IRuntimeCache | None": (IRuntimeCache, types.NoneType),
}
