"""What a peer has received of a stream: TCP acknowledges bytes, and a muxer's success says nothing.

The system takes megabytes for a peer that reads nothing any more, a minute of video and longer. What counts
is what the peer's system has acknowledged: RFC 9293, section 3.4, as ``tcp_info`` of Linux tells it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

TAKEN = b"."
"""Written for each image that arrived."""

_FDS = "/proc/self/fd"
_ACKED = struct.Struct("=Q")
_ACKED_OFFSET = 120  # of tcpi_bytes_acked, in struct tcp_info of linux/tcp.h, since Linux 4.1
_INFO_SIZE = 256
_POLL_S = 0.05
_CLOSE_S = 5.0


class Receipts:
    """Writes a byte for each image that has arrived, as soon as it has.

    Where nothing goes over TCP (UDP, WHIP, files, pipes), an image has arrived as soon as it was sent.

    Args:
        output: where the bytes go.
        is_tcp: one connection, which stays, takes the images.
    """

    def __init__(self, output: BinaryIO, is_tcp: bool) -> None:
        self._output, self._is_tcp = output, is_tcp
        self._marks: deque[int] = deque()  # bytes sent, after each image that waits
        self._lock = threading.Lock()
        self._is_waiting = threading.Event()
        threading.Thread(target=self._poll, name="receipts", daemon=True).start()

    def add(self) -> None:
        """An image was sent."""
        with self._lock:
            progress = tcp_progress() if self._is_tcp else ()
            self._marks.append(sum(acknowledged + queued for acknowledged, queued in progress))
        self._report()
        self._is_waiting.set()

    def wait(self, limit_s: float = _CLOSE_S) -> None:
        """Waits until all have arrived, for a limited time."""
        deadline = time.monotonic() + limit_s
        while self._marks and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _poll(self) -> None:
        while self._is_waiting.wait():
            self._report()
            time.sleep(_POLL_S)

    def _report(self) -> None:
        with self._lock:
            arrived = sum(acknowledged for acknowledged, _ in tcp_progress())
            count = 0
            while self._marks and self._marks[0] <= arrived:
                self._marks.popleft()
                count += 1
            if not self._marks:
                self._is_waiting.clear()
            with contextlib.suppress(OSError):  # whoever started this process is gone
                self._output.write(TAKEN * count)
                self._output.flush()


def tcp_progress() -> Iterator[tuple[int, int]]:
    """Of each TCP connection of this process: bytes that were acknowledged, and bytes that were not yet."""
    for name in os.listdir(_FDS):  # noqa: PTH208  (a path each would cost more than the rest)
        number = int(name)
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            borrowed = socket.socket(fileno=number)
        except OSError:  # closed meanwhile
            continue
        try:
            if borrowed.type == socket.SOCK_STREAM and borrowed.family in (socket.AF_INET, socket.AF_INET6):
                info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
                queue = fcntl.ioctl(number, termios.TIOCOUTQ, b"\0" * 4)
                if len(info) >= _ACKED_OFFSET + _ACKED.size:
                    yield _ACKED.unpack_from(info, _ACKED_OFFSET)[0], struct.unpack("i", queue)[0]
        except OSError:  # a socket that listens, or is not connected
            continue
        finally:
            borrowed.detach()  # it is the muxer's
