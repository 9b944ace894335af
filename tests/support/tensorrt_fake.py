"""A stand-in for the module ``tensorrt`` whose plans run on :class:`tests.support.cuda_fake.FakeCuda`.

A plan is JSON that says what TensorRT would find in it. The engine answers as ``FakeEngine`` does, from
the bytes at the addresses it was given and in the shape that was set when the work was enqueued, so a
graph that outlives a change of shape, an address that was not renewed and a missing copy all give wrong
answers. It keeps TensorRT's rules: shapes lie in the profile, the first request after a change of shape
cannot be captured, what fails returns False or None and logs.

Its names are held against the four API surfaces by ``test_engines_trt``.
"""

from __future__ import annotations

import ctypes
import enum
import json
from typing import Any

import numpy as np

from edgevision.contract.model_file import decode_manifest
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


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class FakeTensorRt:
    """The module: ``trt.Runtime`` and so on.

    Args:
        cuda: the CUDA runtime that its engines run on.
        version: as the module reports it.
    """

    DataType = DataType
    TensorIOMode = TensorIOMode
    ILogger = ILogger

    def __init__(self, cuda: FakeCuda, version: str = "10.3.0.30") -> None:
        self.__version__ = version
        self.cuda = cuda
        self.loggers: list[Any] = []
        self.contexts: list[IExecutionContext] = []

    def nptype(self, trt_type: DataType) -> Any:
        return trt_type.value

    def Runtime(self, logger: ILogger) -> Runtime:  # noqa: N802 (a class of the module)
        self.loggers.append(logger)
        return Runtime(self, logger)


class Runtime:
    def __init__(self, module: FakeTensorRt, logger: ILogger) -> None:
        self._module, self._logger = module, logger
        self.DLA_core = -1
        self.num_DLA_cores = 2

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        facts = json.loads(serialized_engine)
        if not facts["readable"]:
            message = (
                "IRuntime::deserializeCudaEngine: Error Code 1: Serialization\n (magic tag does not match)"
            )
            self._logger.log(ILogger.ERROR, message)
            return None
        return ICudaEngine(self._module, self._logger, facts)


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


class IExecutionContext:
    def __init__(self, engine: ICudaEngine, module: FakeTensorRt, logger: ILogger) -> None:
        self._engine, self._cuda, self._logger = engine, module.cuda, logger
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._ran_at_this_shape = False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, 0)
        if not least[0] <= shape[0] <= most[0] or list(shape[1:]) != least[1:]:
            self._logger.log(ILogger.ERROR, f"Runtime dimension does not satisfy any profile: {shape}")
            return False
        self._shapes[name] = tuple(shape)
        self._ran_at_this_shape = False
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> list[int]:
        batch = self._shapes[next(iter(self._engine._inputs))][0]
        return [batch, *self._engine.get_tensor_shape(name)[1:]]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory != 0

    def execute_async_v3(self, stream_handle: int) -> bool:
        stream = self._cuda.stream(stream_handle)
        if set(self._addresses) != set(self._engine._specs) or self.infer_shapes():
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


def _view(cuda: FakeCuda, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    block = cuda.device_memory[address]  # a KeyError is a use after free
    size = int(np.prod(shape)) * dtype.itemsize
    assert size <= len(block), "the buffer is smaller than the tensor"
    return np.frombuffer((ctypes.c_ubyte * size).from_address(address), dtype).reshape(shape)
