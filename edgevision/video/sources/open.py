"""Opens sources by their address; the only module that knows the address schemes."""

from __future__ import annotations

import contextlib
import glob
import re
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from edgevision.address import Address
from edgevision.errors import SourceError, nearest
from edgevision.plugins import SOURCES, find_plugin, known_schemes
from edgevision.video.base import Source
from edgevision.video.sources.animation import AnimationSource
from edgevision.video.sources.camera import (
    CameraFactory,
    camera_device,
    camera_mode,
    open_camera,
    open_capture,
)
from edgevision.video.sources.chaos import SCHEME as CHAOS_SCHEME
from edgevision.video.sources.chaos import ChaosSource, split_faults
from edgevision.video.sources.demo import DemoSource
from edgevision.video.sources.file import FileSource
from edgevision.video.sources.gstreamer import open_csi, open_gst
from edgevision.video.sources.images import ImagesSource, is_image_file, is_moving
from edgevision.video.sources.media import find_media, is_pattern
from edgevision.video.sources.network import SCHEMES, open_stream
from edgevision.video.sources.options import SourceOptions, split_options
from edgevision.video.sources.pipe import ADDRESS as PIPE
from edgevision.video.sources.pipe import PipeSource

ACCEPTED = (
    "a video, an image, a folder or a 'pattern*' of either, webcam, 0, /dev/video0, v4l2://0, "
    "csi://0, gst://PIPELINE, rtsp://..., http://..., rtmp://..., udp://..., tcp://..., demo, - for a pipe, chaos://SOURCE?..."
)


def open_source(
    uri: str,
    options: SourceOptions = SourceOptions(),  # noqa: B008  (frozen)
    *,
    camera_factory: CameraFactory = open_capture,
    threads: int = 0,
) -> Source:
    """Opens the source of an address; everything that can be checked before the first frame is checked here.

    A scheme that is not known here is looked up among those of installed packages: see
    :mod:`edgevision.plugins`.

    Args:
        uri: see :data:`ACCEPTED`; ``demo://?seconds=6&rounds=3`` sets the demo's length. A folder or pattern
            of several videos is several sources: see :func:`expand_sources`. A camera's mode follows a ``?``
            (:func:`camera_mode`), the options of cameras and streams follow a ``#``
            (:class:`SourceOptions`).
        options: for cameras and streams; options in the address take precedence.
        camera_factory: opens a camera by its index or device file.
        threads: decoder threads of a network stream; 0 lets FFmpeg choose. A file has one, so that two runs
            give the same frames.

    Raises:
        SourceError: it does not exist, cannot be read, or is not a known kind of source.
        SourceTimeoutError: a stream does not respond.
        UsageError: an option in the address is invalid.
        PluginError: a package that provides this kind of source cannot be loaded.
    """
    uri = Address.parse(uri).text
    if uri == PIPE:
        return PipeSource()
    if uri == "demo" or uri.startswith("demo:"):
        return DemoSource.from_uri(uri)
    if uri.startswith(CHAOS_SCHEME):
        inner, faults = split_faults(uri)
        return ChaosSource(
            open_source(inner, options, camera_factory=camera_factory, threads=threads), faults
        )
    device, scheme = camera_device(uri), _scheme(uri)
    if device is not None:
        uri, options = split_options(uri, options)
        return open_camera(device, camera_mode(uri), options, camera_factory=camera_factory)
    if scheme in SCHEMES:
        uri, options = split_options(uri, options)
        address = Address.parse(uri)
        if "#" in address.reserved:  # what follows it is never sent, so another host would be asked
            raise SourceError(f"cannot open {address.shown}: it ends at the '#'{address.advice}")
        return open_stream(uri, options, threads=threads)
    if scheme in ("gst", "csi"):
        uri, options = split_options(uri, options)
        return open_gst(uri, options) if scheme == "gst" else open_csi(uri, options)
    plugin = None if scheme in ("", "file") else find_plugin(SOURCES, scheme)
    if plugin is not None:
        return cast("Source", plugin(uri))
    path = _local_path(uri, scheme)
    _refuse_mistyped(uri, path)
    if path.is_dir() or is_pattern(str(path)):
        return _open_several(path)
    if not path.exists():
        raise _missing(path)
    return _open_file(path)


def expand_sources(uri: str) -> list[str]:
    """The sources of an address: each video of a folder or pattern, otherwise the address itself.

    Videos are separate sources, each with its own times, audio, output and entry in a summary; a caller
    runs them one after the other. The images of a folder are the frames of one source.

    Raises:
        SourceError: the folder or pattern contains no images or videos, or both kinds.
    """
    uri = Address.parse(uri).text
    scheme = _scheme(uri)
    if camera_device(uri) is not None or uri == "demo" or scheme not in ("", "file"):
        return [uri]
    path = _local_path(uri, scheme)
    _refuse_mistyped(uri, path)
    if not (path.is_dir() or is_pattern(str(path))):
        return [uri]
    media = find_media(str(path))
    return [str(video) for video in media.paths] if media.kind == "videos" else [uri]


def is_local(uri: str) -> bool:
    """Whether the address is a local file, folder or pattern, or the demo, of which every frame is read.

    Whether a network address is such a recording is known only after opening it.
    """
    uri = Address.parse(uri).text
    return (
        uri == "demo"
        or uri.startswith("demo:")
        or (camera_device(uri) is None and _scheme(uri) in ("", "file"))
    )


def _scheme(uri: str) -> str:
    match = re.match(r"([a-zA-Z][\w+.-]*):(//|$)", uri)
    return match.group(1).lower() if match else ""


def _local_path(uri: str, scheme: str) -> Path:
    if scheme == "file":
        uri, scheme = unquote(urlsplit(uri).path), ""
    if scheme:
        known = ("file", "demo", "v4l2", "csi", "gst", "chaos", *SCHEMES, *known_schemes(SOURCES))
        raise SourceError(
            f"unknown type of source: {Address.parse(uri).shown}{nearest(scheme, known)}; expected {ACCEPTED}"
        )
    path = Path(uri)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # a pattern, or a mistake that the caller explains
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"{uri!r} is not a name of a file: {error}") from error
    return path


def _open_file(path: Path) -> Source:
    if is_image_file(path):
        return ImagesSource([path], str(path))
    if is_moving(path):
        return AnimationSource(path) if path.suffix.lower() == ".webp" else FileSource(path, demuxer="apng")
    return FileSource(path)


def _open_several(path: Path) -> Source:
    media = find_media(str(path))
    if media.kind == "images":
        folder = path if path.is_dir() else media.paths[0].parent
        return ImagesSource(media.paths, str(path), folder=folder)
    if len(media.paths) == 1:
        return _open_file(media.paths[0])
    raise SourceError(
        f"{path} contains {len(media.paths)} videos, which are separate sources; open one at a time"
    )


def _refuse_mistyped(uri: str, path: Path) -> None:
    """Refuses what is no file, and looks like an address with a mistake, without its password."""
    address = Address.parse(uri)
    if address.scheme or not address.is_hidden or path.exists() or glob.glob(uri, recursive=True):  # noqa: PTH207
        return
    raise SourceError(
        f"source not found: {address.shown} is not a file; the address of a stream starts with rtsp:// or http://"
    )


def _missing(path: Path) -> SourceError:
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir()]
    if path.parent == Path():
        names += ["webcam", "demo"]
    hint = nearest(path.name, names)
    if not path.parent.is_dir():
        return SourceError(
            f"source not found: {path} (folder {path.parent} does not exist); expected {ACCEPTED}"
        )
    return SourceError(f"source not found: {path}{hint}" + ("" if hint else f"; expected {ACCEPTED}"))
