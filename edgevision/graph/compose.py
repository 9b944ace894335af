"""Joins a network's ONNX with its pre- and postprocessing into one file of the contract."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from edgevision import __version__
from edgevision.contract.manifest import Manifest, TensorSpec
from edgevision.contract.model_file import write_manifest
from edgevision.errors import ExportError
from edgevision.files import atomic_path
from edgevision.graph.builder import GraphBuilder

BATCH = "N"
_IR_VERSION = 10  # opset 19 needs 9; JetPack 6 and ONNX Runtime 1.18 read up to 10


def compose(
    core: onnx.ModelProto,
    before: GraphBuilder,
    after: GraphBuilder,
    manifest: Manifest,
    batch: int | None = None,
) -> onnx.ModelProto:
    """One model that takes ``frames`` and returns the contract's outputs.

    Args:
        core: the network alone.
        before: nodes from ``frames`` to the core's input.
        after: nodes from the core's outputs to the contract's.
        manifest: the contract.
        batch: the only batch size that the core takes; None for any.

    Raises:
        ExportError: onnx finds the result invalid.
    """
    strip_traces(core)
    nodes = [*before.nodes, *core.graph.node, *after.nodes]
    constants = [*before.constants, *core.graph.initializer, *after.constants]
    inputs = [_value_info(manifest.input_spec(), batch)]
    outputs = [_value_info(spec, batch) for spec in manifest.output_specs()]
    graph = helper.make_graph(nodes, manifest.name, inputs, outputs, constants)
    opsets = [helper.make_opsetid(opset.domain, opset.version) for opset in core.opset_import]
    model = helper.make_model(
        graph, opset_imports=opsets, producer_name="edgevision", producer_version=__version__
    )
    model.ir_version = _IR_VERSION
    check(model, manifest.name)
    return model


def check(model: onnx.ModelProto, name: str) -> None:
    """Raises ExportError where onnx's checker, with full shape inference, rejects the model."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph of {name} is invalid: {error}") from error


def save_model(model: onnx.ModelProto, path: str | Path, manifest: Manifest) -> Manifest:
    """Writes model and manifest atomically; returns the manifest as stored.

    Raises:
        SinkError: the file cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))
        return write_manifest(partial, manifest)


def strip_traces(model: onnx.ModelProto) -> None:
    """Removes what the exporter noted of the machine it ran on: source paths, stack traces, scopes."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for field in ("metadata_props", "value_info", "doc_string"):
        model.graph.ClearField(field)
    model.ClearField("metadata_props")


def _value_info(spec: TensorSpec, batch: int | None) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(spec.dtype)
    sizes = [batch or BATCH if size is None else size for size in spec.shape]
    return helper.make_tensor_value_info(spec.name, kind, sizes)
