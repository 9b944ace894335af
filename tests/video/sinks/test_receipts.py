"""What a peer has received: bytes that it acknowledged, not those that this machine's system took."""

from __future__ import annotations

import io
import socket

from edgevision.video.sinks.receipts import TAKEN, Receipts, tcp_progress
from tests.support.broker import wait_until

MEGABYTE = bytes(2**20)


def total() -> tuple[int, int]:
    progress = list(tcp_progress())
    return sum(acknowledged for acknowledged, _ in progress), sum(queued for _, queued in progress)


def test_what_a_peer_does_not_read_has_not_arrived() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sends = socket.create_connection(server.getsockname())
        reads, _ = server.accept()
    with sends, reads:
        reads.settimeout(10)
        acknowledged, _ = total()
        sends.sendall(b"image")
        wait_until(lambda: total()[0] >= acknowledged + 5, "what was sent", 10)
        output = io.BytesIO()
        receipts = Receipts(output, is_tcp=True)
        receipts.add()
        wait_until(lambda: output.getvalue() == TAKEN, "the first image", 10)
        sends.sendall(MEGABYTE)  # more than a peer takes that reads nothing
        receipts.add()
        receipts.wait(0.2)
        assert output.getvalue() == TAKEN
        assert total()[1] > 0
        left = 5 + len(MEGABYTE)
        while left > 0:
            left -= len(reads.recv(65_536))
        wait_until(lambda: output.getvalue() == 2 * TAKEN, "the second image", 10)
        assert sends.fileno() >= 0  # it was looked at, and not closed
        sends.sendall(b"more")


def test_without_tcp_an_image_has_arrived_as_soon_as_it_was_sent() -> None:
    output = io.BytesIO()
    receipts = Receipts(output, is_tcp=False)
    receipts.add()
    receipts.add()
    assert output.getvalue() == 2 * TAKEN
    receipts.wait()
