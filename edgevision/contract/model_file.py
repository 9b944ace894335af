"""Reads, writes and checks the contract in a model file, without the onnx package."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgevision.contract.foreign import export_advice
from edgevision.contract.manifest import SCHEMA_VERSION, Manifest
from edgevision.contract.protobuf import Buffer, encode_field, fields
from edgevision.errors import ForeignModelError, ManifestError, ModelError
from edgevision.files import atomic_path
from edgevision.suffixes import PLAN_SUFFIXES

METADATA_KEY = "edgevision"
# Field numbers in onnx.proto.
_METADATA_PROPS, _GRAPH, _FUNCTIONS = 14, 7, 25  # of ModelProto
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of TensorProto
_TENSOR, _NODE, _ATTRIBUTE, _BODY = "tensor", "node", "attribute", "graph"
_INSIDE = {
    _BODY: {1: _NODE, 5: _TENSOR},
    "function": {7: _NODE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _BODY, 10: _TENSOR, 11: _BODY},
}
"""For each kind of message the fields that hold others in which a tensor can be."""

_CHUNK = 1 << 20


def decode_manifest(text: bytes | str, origin: str) -> Manifest:
    """Parses and checks a manifest.

    Args:
        text: JSON.
        origin: the file that it comes from, for messages.

    Raises:
        ManifestError: the JSON is malformed, incomplete, or of another schema version.
    """
    try:
        schema = msgspec.json.decode(text, type=_Header).schema
        if not 1 <= schema <= SCHEMA_VERSION:
            raise ManifestError(
                f"{origin}: metadata schema {schema}, but this edgevision reads schema 1 to "
                f"{SCHEMA_VERSION}; export the model again with this version, or update edgevision"
            )
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ManifestError(
            f"{origin}: its edgevision metadata is malformed ({error}); export it again"
        ) from error
    problem = found.problem()
    if problem:
        raise ManifestError(f"{origin}: its metadata {problem}; export it again")
    return found


class _Header(msgspec.Struct):
    schema: int = 1


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Reads the manifest of an ONNX file, or the ``.json`` beside a TensorRT plan.

    Raises:
        ModelError: the file is missing, empty, or not an ONNX model.
        ManifestError: it is an ONNX model without a valid manifest.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelError(f"{path} is a folder{_advice(path) or '; expected an ONNX file'}")
    if not path.is_file():
        raise ModelError(
            f"model file not found: {path}; check the path or list models with 'edgevision models'"
        )
    if path.suffix.lower() in PLAN_SUFFIXES:
        side = path.with_name(path.name + ".json")
        if not side.is_file():
            raise ManifestError(
                f"{path}: its contract file {side.name} is missing, so it was copied without it, or another "
                "project built it; compile the model again, or take the ONNX file that it was built from"
            )
        try:
            document = msgspec.json.decode(side.read_bytes(), type=dict[str, msgspec.Raw])
        except msgspec.MsgspecError as error:
            raise ManifestError(f"{side}: not JSON ({error}); compile the plan again") from error
        return decode_manifest(bytes(document.get("manifest", msgspec.Raw(b"{}"))), str(side))
    entry = read_onnx_metadata(path).get(METADATA_KEY)
    if entry is None:
        raise ForeignModelError(
            f"{path}: an ONNX model without edgevision metadata (no '{METADATA_KEY}' in metadata_props); "
            "expected one written by 'edgevision export' or 'edgevision import'",
            path,
        )
    return decode_manifest(entry, str(path))


def write_manifest(path: str | os.PathLike[str], manifest: Manifest) -> Manifest:
    """Stores ``manifest`` in an ONNX file, atomically, replacing an earlier one.

    Returns:
        The manifest as stored, with ``sha256`` and ``schema`` filled in.

    Raises:
        ModelError: the file is not an ONNX model, or weights that it names are missing.
    """
    path = Path(path)
    data = path.read_bytes()
    kept = [data[start:end] for field, start, _, end in _onnx_fields(data, path) if field != _METADATA_PROPS]
    others = {key: value for key, value in read_onnx_metadata(path).items() if key != METADATA_KEY}
    digest = _digest(data, path)
    stored = msgspec.structs.replace(manifest, sha256=digest, schema=manifest.needed_schema())
    entries = {**others, METADATA_KEY: msgspec.json.encode(stored).decode()}
    with atomic_path(path) as partial, partial.open("wb") as stream:
        stream.writelines(kept)
        stream.writelines(_encode_entry(key, value) for key, value in entries.items())
    return stored


def content_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of an ONNX file with its metadata cleared, in hexadecimal.

    Weights that lie in files of their own are part of it: their names in alphabetical order, each with its
    content.

    Raises:
        ModelError: the file is not an ONNX model, or such a file is missing or lies in another folder.
    """
    path = Path(path)
    with _mapped(path) as data:
        return _digest(data, path)


def _digest(data: Buffer, path: Path) -> str:
    digest = hashlib.sha256()
    found = _onnx_fields(data, path)
    for field, start, _, end in found:
        if field != _METADATA_PROPS:
            digest.update(data[start:end])
    kinds = {_GRAPH: _BODY, _FUNCTIONS: "function"}
    places: set[str] = set()
    with contextlib.suppress(IndexError, ValueError, RecursionError):  # damaged: then the sum differs anyway
        for field, _, body, end in found:
            if field in kinds:
                places.update(_weight_files(data, body, end, kinds[field]))
    for place in sorted(places):
        digest.update(b"\0" + place.encode() + b"\0")
        _add_file(digest, path, place)
    return digest.hexdigest()


def _weight_files(data: Buffer, start: int, end: int, kind: str) -> Iterator[str]:
    """The files, relative to the model's folder, in which tensors inside a message have their values.

    Raises:
        IndexError, ValueError: the bytes are not such a message.
    """
    if kind == _TENSOR:
        parts = list(fields(data, start, end))
        if any(field == _DATA_LOCATION and data[body] == 1 for field, _, body, _ in parts):
            for field, _, body, stop in parts:
                if field == _EXTERNAL_DATA:
                    entry = {number: bytes(data[at:to]) for number, _, at, to in fields(data, body, stop)}
                    if entry.get(1) == b"location":
                        yield entry.get(2, b"").decode()
        return
    inside = _INSIDE[kind]
    for field, _, body, stop in fields(data, start, end):
        if field in inside:
            yield from _weight_files(data, body, stop, inside[field])


def _add_file(digest: hashlib._Hash, path: Path, place: str) -> None:
    if not place or Path(place).is_absolute() or ".." in Path(place).parts:
        raise ModelError(
            f"{path}: its weights are said to be in '{place}'; expected a file below the model's own folder; "
            "export it again"
        )
    try:
        with (path.parent / place).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ModelError(
            f"{path}: its weights are in {place}, which cannot be read ({error.strerror}); copy that file "
            "beside it"
        ) from error


def read_onnx_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The ``metadata_props`` of an ONNX file, without the onnx package.

    Raises:
        ModelError: the file is empty or not an ONNX model.
    """
    path = Path(path)
    entries: dict[str, str] = {}
    with _mapped(path) as data:
        for field, _, body, end in _onnx_fields(data, path):
            if field == _METADATA_PROPS:
                try:
                    pair = {number: data[at:stop] for number, _, at, stop in fields(data, body, end)}
                    entries[pair.get(1, b"").decode()] = pair.get(2, b"").decode()
                except (IndexError, ValueError) as error:  # UnicodeDecodeError is a ValueError
                    raise ModelError(f"{path}: its metadata is damaged; copy or export it again") from error
    return entries


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """A read-only memory map of a file.

    Raises:
        ModelError: the file is empty or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise ModelError(f"{path}: the file is empty; expected an ONNX model")
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from error
    with data:
        yield data


def _onnx_fields(data: Buffer, path: Path) -> list[tuple[int, int, int, int]]:
    """Top-level fields of a ``ModelProto``; raises ModelError for anything else."""
    try:
        found = list(fields(data, 0, len(data)))
    except (IndexError, ValueError) as error:
        what = "its bytes are not a protobuf message"
        raise ModelError(f"{path}: not an ONNX model ({what}){_advice(path)}") from error
    if not any(field == _GRAPH for field, *_ in found):
        raise ModelError(f"{path}: not an ONNX model (no graph in it){_advice(path)}")
    return found


def _advice(path: Path) -> str:
    """How to make an ONNX model of it, for the end of a message."""
    advice = export_advice(path)
    return f"; it is {advice}" if advice else ""


def _encode_entry(key: str, value: str) -> bytes:
    return encode_field(_METADATA_PROPS, encode_field(1, key.encode()) + encode_field(2, value.encode()))


def read_sound_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest of an ONNX file whose content matches the manifest's checksum.

    Raises:
        ModelError: the file is missing, has no valid manifest, or was damaged or edited.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if manifest.sha256 and content_sha256(path) != manifest.sha256:
        raise ModelError(
            f"{path}: its content differs from the checksum in its metadata, so it is damaged or was "
            "edited; copy or export it again"
        )
    return manifest
