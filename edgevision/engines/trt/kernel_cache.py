"""What only TensorRT for RTX has at run time: a cache of the kernels that it compiles for the GPU at hand.

A plan of TensorRT for RTX is built ahead of time and holds no finished kernels for this GPU: they are
compiled when a context is made. Kept in a file beside the plan (``street.engine.cache``), later starts find
them there.

Source: TensorRT for RTX documentation, "Working with Runtime Cache".
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgevision.engines.trt.library import ErrorLog, one_line_errors
from edgevision.engines.trt.trust import is_built_here, record_built_plan
from edgevision.errors import EdgeVisionError, EngineError, EngineMismatchError, SinkError
from edgevision.files import atomic_path


def kernel_cache_path(plan: Path) -> Path:
    """``street.engine`` to ``street.engine.cache``."""
    return plan.with_name(plan.name + ".cache")


class KernelCache:
    """The kernels of one plan, shared by all of its contexts.

    Like the plan it holds machine code: what this user's edgevision did not write is not loaded, unless the
    user vouches for the plan. A cache that cannot be used or kept costs time at the start and nothing else.

    Args:
        engine: the loaded plan.
        plan: its file.
        trust: the user vouches for what lies beside the plan, too.

    Attributes:
        problem: why the kernels are not kept, or ``""``.
    """

    def __init__(self, engine: Any, plan: Path, trust: bool) -> None:
        self.path = kernel_cache_path(plan)
        self.problem = ""
        self._engine = engine
        self._runtime_config: Any = None
        self._runtime_cache: Any = None
        self._kept = 0
        data = self._read(trust)
        try:
            with one_line_errors("the library makes no cache", ErrorLog()):
                runtime_config = engine.create_runtime_config()
                runtime_cache = None if runtime_config is None else runtime_config.create_runtime_cache()
                if runtime_cache is None:
                    raise EngineError("the library makes no cache")
                if data and runtime_cache.deserialize(data):
                    self._kept = len(data)
                if not runtime_config.set_runtime_cache(runtime_cache):
                    raise EngineError("the library refuses its own cache")
        except EngineError as error:
            self._not_kept(error)
        else:
            self._runtime_config, self._runtime_cache = runtime_config, runtime_cache

    def make_context(self) -> Any:
        """An execution context that compiles only what the cache lacks, or None as the library gives it."""
        if self._runtime_config is None:
            return self._engine.create_execution_context()
        return self._engine.create_execution_context(runtime_config=self._runtime_config)

    def save(self) -> None:
        """Writes the cache where it grew; what fails is in ``problem``. No context may work meanwhile."""
        if self._runtime_cache is None:
            return
        try:
            with one_line_errors("the library does not give its cache", ErrorLog()):
                data = bytes(memoryview(self._runtime_cache.serialize()))
            if len(data) > self._kept:
                with atomic_path(self.path) as partial:
                    partial.write_bytes(data)
                record_built_plan(self.path, hashlib.sha256(data).hexdigest())
                self._kept = len(data)
        except (EngineError, SinkError) as error:
            self._not_kept(error)

    def _not_kept(self, error: EdgeVisionError) -> None:
        self.problem = f"compiled kernels are not kept, so every start compiles them again: {error}"

    def _read(self, trust: bool) -> bytes:
        try:
            data = self.path.read_bytes()
            is_ours = trust or is_built_here(hashlib.sha256(data).hexdigest())
        except (OSError, EngineMismatchError):
            return b""
        return data if is_ours else b""
