"""Opens files as files and streams as streams: the only module that hands names to FFmpeg.

FFmpeg takes what stands before a colon for a protocol: ``12:30.mp4`` would not open, and a file named
``http:camera?x.mp4`` would make it fetch that address, or send a recording there. Its own prefix ``file:``
takes the rest as it is. What a file refers to, as a playlist does, is a file too; what a
stream refers to is never a file.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from os import PathLike, fspath
from types import MappingProxyType

import av
from av.container import InputContainer, OutputContainer

_FILE_PROTOCOLS = "file,crypto,data"
_NETWORK_PROTOCOLS = (
    "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtsp,rtsps,rtmp,rtmps,ffrtmphttp,srt,crypto,data"
)


def open_video_file(
    path: str | PathLike[str],
    options: Mapping[str, str] = MappingProxyType({}),
    *,
    demuxer: str | None = None,
) -> InputContainer:
    """Opens a file for reading, whatever its name looks like; titles in no known encoding are no obstacle.

    Args:
        path: the file.
        options: of FFmpeg's demuxer.
        demuxer: FFmpeg's name of the format, where the content alone would not choose it.

    Raises:
        OSError, av.error.FFmpegError: it cannot be read, or is in no known format.
    """
    return av.open(
        _as_file(path),
        format=demuxer,
        options={**options, "protocol_whitelist": _FILE_PROTOCOLS},
        metadata_errors="replace",
    )


def open_network_stream(
    uri: str, options: Mapping[str, str], timeout: tuple[float, float] | float
) -> InputContainer:
    """Opens an address over the network.

    Args:
        uri: with user and password.
        options: of FFmpeg's demuxer and protocol.
        timeout: in seconds: to open, and to read.

    Raises:
        OSError, av.error.FFmpegError: it does not answer, or is in no known format. The message contains the
            address: show ``strerror`` only, and do not chain it.
    """
    whitelist = {"protocol_whitelist": _NETWORK_PROTOCOLS}
    return av.open(uri, options={**options, **whitelist}, timeout=timeout, metadata_errors="replace")


@functools.cache
def has_protocol(scheme: str) -> bool:
    """Whether this build of FFmpeg knows a protocol: PyAV's wheels, for one, are built without SRT.

    Args:
        scheme: such as ``rtmp``. Nothing is connected to: no protocol is on the list of those allowed, which
            FFmpeg looks at once it has found it.
    """
    try:
        av.open(f"{scheme}://localhost:9/x", options={"protocol_whitelist": "none"}, timeout=1).close()
    except av.error.ProtocolNotFoundError:
        return False
    except (OSError, av.error.FFmpegError):
        return True
    return True


def create_mp4_file(path: str | PathLike[str], muxer_options: Mapping[str, str]) -> OutputContainer:
    """Creates an MP4, whatever its name looks like; a file that exists is replaced.

    Args:
        path: the file.
        muxer_options: of FFmpeg's MP4 muxer.

    Raises:
        OSError, av.error.FFmpegError: it cannot be written.
    """
    return av.open(_as_file(path), "w", format="mp4", container_options=dict(muxer_options))


def _as_file(path: str | PathLike[str]) -> str:
    return f"file:{fspath(path)}"
