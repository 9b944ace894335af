"""Every name of TensorRT's Python API that the code uses exists in all releases that it is meant for.

``tests/support/tensorrt_api.json`` lists the public names of four releases, read off NVIDIA's own wheels.
What the
code uses is read off its sources, so a name that TensorRT 11 removed fails here and not on a Jetson.
"""

from __future__ import annotations

import ast
import json

import pytest

from tests.support.paths import ROOT, SHARED, SUPPORT

SURFACES: dict[str, dict[str, list[str]]] = json.loads(
    (SUPPORT / "tensorrt_api.json").read_text(encoding="utf-8")
)
API = SHARED / "tensorrt" / "api"
RTX = "tensorrt-rtx-1.7"
RTX_ONLY = ("export/plans/ahead.py", "edgevision/engines/trt/kernel_cache.py")
"""The files that may use what only TensorRT for RTX has."""

SOURCES = (
    "edgevision/engines/trt/engine.py",
    "edgevision/engines/trt/library.py",
    "export/plans/build.py",
    "export/plans/progress.py",
    *RTX_ONLY,
)
"""The files that may use the library."""

# How variables of these files are called, and what they are. Python says no types of a library that is
# not installed, so the names are the convention that this test stands on.
CLASSES = {
    "builder": "Builder",
    "built_layer": "ILayer",
    "cache": "ITimingCache",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "frames": "ITensor",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "rejection": "ParserError",
    "runtime_cache": "IRuntimeCache",
    "runtime_config": "IRuntimeConfig",
    "runtime": "Runtime",
    "shape_range": "IOptimizationProfile",
    "tensor": "ITensor",
}


def chain(node: ast.expr) -> list[str]:
    """``trt.BuilderFlag.REFIT`` to its three names; ``[]`` where it does not start with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else []


def used_names(source: str) -> set[tuple[str, str]]:
    """``(class, member)`` for each name of the library in a source; the class ``""`` is the module itself."""
    used = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        head, *rest = chain(node) or [""]
        head = head.lstrip("_")
        if head == "self" and len(rest) > 1:  # self._context.execute_async_v3
            head, rest = rest[0].lstrip("_"), rest[1:]
        if head == "trt" and not rest[0].startswith("__"):
            used.add(("", rest[0]))
            if len(rest) > 1 and not rest[1].startswith("__"):
                used.add((rest[0], rest[1]))
        elif head in CLASSES and rest:
            used.add((CLASSES[head], rest[0]))
    return used


def missing(used: set[tuple[str, str]], release: str) -> list[str]:
    surface = SURFACES[release]
    return sorted(f"{kind}.{name}".lstrip(".") for kind, name in used if name not in surface.get(kind, ()))


def test_names_are_found_in_a_source() -> None:
    source = (
        "trt.Builder(x)\nnetwork.get_input(0)\nself._engine.num_io_tensors\ntrt.BuilderFlag.REFIT\nos.sep"
    )
    assert used_names(source) == {
        ("", "Builder"),
        ("INetworkDefinition", "get_input"),
        ("ICudaEngine", "num_io_tensors"),
        ("", "BuilderFlag"),
        ("BuilderFlag", "REFIT"),
    }


@pytest.mark.parametrize("removed", ["trt.BuilderFlag.FP16", "trt.IInt8Calibrator", "config.int8_calibrator"])
def test_what_tensorrt_11_removed_would_be_noticed(removed: str) -> None:
    used = used_names(removed)
    assert missing(used, "tensorrt-10.3") == []
    assert missing(used, "tensorrt-11.4")


def test_the_sources_are_found() -> None:
    assert {"edgevision/engines/trt/engine.py", "export/plans/build.py", *RTX_ONLY} <= set(SOURCES)
    everything = set().union(*(used_names((ROOT / source).read_text("utf-8")) for source in SOURCES))
    for expected in (
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("Builder", "build_serialized_network"),
        ("OnnxParser", "parse"),
        ("IBuilderConfig", "add_optimization_profile"),
        ("IExecutionContext", "execute_async_v3"),
        ("Runtime", "deserialize_cuda_engine"),
        ("IOptimizationProfile", "set_shape"),
        ("ITensor", "shape"),
        ("ILayer", "name"),
        ("ITimingCache", "serialize"),
        ("ParserError", "node_operator"),
        ("ILayer", "type"),
        ("IRuntimeConfig", "set_runtime_cache"),
        ("IRuntimeCache", "serialize"),
    ):
        assert expected in everything


@pytest.mark.parametrize("release", SURFACES)
@pytest.mark.parametrize("source", SOURCES)
def test_every_name_exists_in_every_release(source: str, release: str) -> None:
    if source in RTX_ONLY and release != RTX:
        pytest.skip("plans are built ahead of time, and their kernels kept, by TensorRT for RTX only")
    assert missing(used_names((ROOT / source).read_text("utf-8")), release) == []


def test_no_other_source_uses_the_library() -> None:
    for folder in ("edgevision", "export", "calibration"):
        for path in (ROOT / folder).rglob("*.py"):
            if str(path.relative_to(ROOT)) not in SOURCES:
                used = {kind for kind, _ in used_names(path.read_text("utf-8"))}
                assert "" not in used, f"{path} uses trt.*, but is not named in SOURCES"


def test_the_lists_are_those_of_the_wheels() -> None:
    if not API.is_dir():
        pytest.skip("../shared/tensorrt/api is not here: the lists cannot be held against their source")
    for release, surface in SURFACES.items():
        wheel = json.loads((API / f"{release}.json").read_text(encoding="utf-8"))
        assert {kind: sorted(wheel[kind]) for kind in surface} == surface
