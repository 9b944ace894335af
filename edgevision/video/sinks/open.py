"""Opens outputs: the only module that parses their addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from edgevision.address import display
from edgevision.errors import SinkError, nearest
from edgevision.files import refuse_existing, set_aside
from edgevision.plugins import SINKS, find_plugin, known_schemes, scheme_of
from edgevision.suffixes import SAVED_IMAGE_SUFFIXES, VIDEO_SUFFIXES
from edgevision.video.base import Sink, SourceInfo
from edgevision.video.sinks import images as image_files
from edgevision.video.sinks.jsonl import JsonlSink
from edgevision.video.sinks.mp4 import Mp4Sink
from edgevision.video.sinks.network import PIPES, PLAYLIST_SUFFIX, SCHEMES, NetworkSink, target_of
from edgevision.video.sinks.window import WindowSink

ACCEPTED = (
    ".mp4, .jsonl, an image such as .jpg or .png, frames/%06d.jpg, window, live.m3u8, rtsp://, rtmp://, "
    "udp://, tcp://, whip+https://, or - (MPEG-TS) and -.mjpg for a pipe"
)


def open_sink(
    uri: str,
    *,
    info: SourceInfo,
    overwrite: bool = False,
    append: bool = False,
    encoder_threads: int = 2,
    paced: bool = False,
    single: bool = False,
) -> Sink:
    """Opens the output that an address names, and refuses early what cannot work.

    A scheme that is not known here is looked up among those of installed packages: see
    :mod:`edgevision.plugins`.

    Args:
        uri: see :data:`ACCEPTED`.
        info: the source of the frames.
        overwrite: True replaces what exists, but never the source itself.
        append: True continues JSON lines and numbered images that exist, and renames another file that exists
            (:func:`edgevision.files.set_aside`).
        encoder_threads: for H.264.
        paced: a window shows a recording at its own speed.
        single: no more than one frame will come, which an image file can take.

    Raises:
        OutputExistsError: the output exists and ``overwrite`` is False.
        SinkError: its kind is unknown, its folder does not exist or cannot be written, it is the source,
            it is one image for many frames, or there is no display for a window.
        PluginError: a package that brings this kind of output cannot be loaded.
    """
    if uri in ("window", "window://"):
        return WindowSink(f"edgevision: {info.name}", paced=paced)
    if uri in PIPES or scheme_of(uri) in SCHEMES:
        return NetworkSink(target_of(uri), info)
    if scheme_of(uri):
        return _open_plugin(uri, scheme_of(uri), info)
    path = Path(uri)
    suffix = path.suffix.lower()
    if suffix not in (".mp4", ".jsonl", PLAYLIST_SUFFIX, *SAVED_IMAGE_SUFFIXES):
        raise _unknown_kind(uri, suffix)
    _refuse_source(path, info)
    if suffix in SAVED_IMAGE_SUFFIXES and image_files.is_pattern(uri):
        sink: Sink = image_files.ImagePatternSink(path, overwrite, append)
        _refuse_unwritable(path.parent)
        return sink
    refuse_existing(path, overwrite or append)
    _refuse_unwritable(path if path.exists() else path.parent)
    if suffix == PLAYLIST_SUFFIX:
        return NetworkSink(target_of(uri), info)
    if append and suffix != ".jsonl":
        set_aside(path)
    if suffix == ".mp4":
        return Mp4Sink(path, info, threads=encoder_threads)
    if suffix == ".jsonl":
        return JsonlSink(path, append)
    if not (info.is_image or single):
        raise SinkError(
            f"{uri} is a single image, but {info.name} has many frames; "
            f"write to {path.parent / ('%06d' + suffix)} or an .mp4, or end with the first (`max_frames` 1)"
        )
    return image_files.ImageSink(path)


def check_sink_address(uri: str) -> None:
    """Refuses an address that can never be sent to, before anything is opened; says nothing on files.

    Raises:
        SinkError: its kind is unknown, it names no host, or this build of FFmpeg does not know its protocol.
        UsageError, DependencyError, PluginError: a library or package is missing or does not load.
    """
    scheme = scheme_of(uri)
    if scheme in SCHEMES:
        target_of(uri)
    elif scheme not in ("", "window") and find_plugin(SINKS, scheme) is None:
        raise _unknown_scheme(uri, scheme)


def _open_plugin(uri: str, scheme: str, info: SourceInfo) -> Sink:
    plugin = find_plugin(SINKS, scheme)
    if plugin is None:
        raise _unknown_scheme(uri, scheme)
    return cast("Sink", plugin(uri, info))


def _unknown_scheme(uri: str, scheme: str) -> SinkError:
    hint = nearest(scheme, ("window", *SCHEMES, *known_schemes(SINKS))) or f"; expected {ACCEPTED}"
    return SinkError(f"unknown kind of output: {display(uri)}{hint}")


def _unknown_kind(uri: str, suffix: str) -> SinkError:
    if suffix in VIDEO_SUFFIXES:  # not a misspelling, so a similar suffix would not help
        return SinkError(
            f"cannot write {suffix} video: {uri}; videos are written as .mp4: {Path(uri).stem}.mp4"
        )
    hint = nearest(suffix, (".mp4", ".jsonl", *SAVED_IMAGE_SUFFIXES)) or nearest(uri, ("window",))
    found = f"'{suffix}'" if suffix else "no suffix"
    return SinkError(f"unknown kind of output: {uri} ({found}){hint or '; expected ' + ACCEPTED}")


def _refuse_source(path: Path, info: SourceInfo) -> None:
    if info.path is None:
        return
    place = path.parent if info.path.is_dir() and image_files.is_pattern(str(path)) else path
    if place.exists() and info.path.exists() and place.samefile(info.path):
        raise SinkError(f"output {path} would overwrite the source {info.name}; choose another name")


def _refuse_unwritable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise SinkError(f"no permission to write {path}; choose another place")
