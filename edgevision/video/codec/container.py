"""Opens files as files and streams as streams: the only module that hands names to FFmpeg.

FFmpeg takes what stands before a colon for a protocol: ``12:30.mp4`` would not open, and a file named
``http:camera?x.mp4`` would make it fetch that address, or send a recording there. Its own prefix ``file:``
takes the rest as it is. What a file refers to, as a playlist does, is a file too; what a
stream refers to is never a file.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping, Sequence
from io import FileIO
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from edgevision.closeable import Closeable

_FILE_PROTOCOLS = "file,crypto,data"
_NETWORK_PROTOCOLS = (
    "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtsp,rtsps,rtmp,rtmps,ffrtmphttp,srt,crypto,data"
)
_WRITE_BYTES = 256 * 1024  # as FFmpeg's own files have it


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


class Mp4File(Closeable):
    """An MP4 that is created, whatever its name looks like; a file that exists is replaced.

    Python opens and writes it. Where PyAV opens a file, no other thread can run while the header and the end
    of the file are written: a disk that stalls just then would stop the whole process.

    Args:
        path: the file. It is removed by :meth:`close` where nothing was written.
        muxer_options: of FFmpeg's MP4 muxer.

    Attributes:
        container: takes the streams.

    Raises:
        OSError, av.error.FFmpegError: (from each method) it cannot be written.
    """

    def __init__(self, path: str | PathLike[str], muxer_options: Mapping[str, str]) -> None:
        self._path = Path(path)
        self._file = _WholeWrites(path, "w")
        self.container = av.open(
            self._file,
            "w",
            format="mp4",
            container_options=dict(muxer_options),
            buffer_size=_WRITE_BYTES,
            io_open=lambda *_: FileIO(path),  # to move the index to the front, it is read again
        )

    def mux(self, packets: Packet[Any] | Sequence[Packet[Any]]) -> None:
        """Adds packets of the container's streams."""
        try:
            self.container.mux(packets)
        finally:
            self._file.interrupt()

    def close(self) -> None:
        """Writes the end of the file; safe to call twice."""
        if self._file.closed:
            return
        try:
            self.container.close()
        except av.error.FFmpegError as error:
            raise self._file.failure or error from None
        finally:
            self._file.close()
            with contextlib.suppress(OSError):
                if not self._path.stat().st_size:
                    self._path.unlink()
            self._file.interrupt()


class _WholeWrites(FileIO):
    """A file as FFmpeg needs it, which takes a part that was written for the whole.

    What a signal raises during a write is kept for :meth:`interrupt`. Python runs the handlers of signals
    as a function is entered, too, before any ``try`` in it: what one raises just as FFmpeg calls
    :meth:`write` on the main thread is lost, with the part that was to be written.

    Attributes:
        failure: why a write failed: FFmpeg knows only that one did.
    """

    failure: OSError | None = None
    _interruption: BaseException | None = None

    def write(self, data: Any) -> int:
        end = self.tell() + len(data)
        while left := end - self.tell():
            self._write_part(memoryview(data)[-left:])
        return len(data)

    def _write_part(self, data: memoryview) -> None:
        try:
            os.write(self.fileno(), data)
        except OSError as error:
            self.failure = error
            raise
        except BaseException as error:  # of a signal: PyAV would lose it
            self._interruption = error

    def interrupt(self) -> None:
        """Raises what a signal raised during a write."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption


def _as_file(path: str | PathLike[str]) -> str:
    return f"file:{os.fspath(path)}"
