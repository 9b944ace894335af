"""A WebRTC peer that takes what is published by WHIP (RFC 9725), for tests; needs aiortc."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np


class Peer:
    """A WHIP endpoint that decodes what it is sent.

    Args:
        read: from a grey image, uint8 ``[H, W]``, to the number that it shows, which ``numbers`` keeps.
        port: 0 takes a free one.
    """

    def __init__(self, read: Callable[[np.ndarray], int], port: int = 0) -> None:
        self.numbers: list[int] = []
        self._read = read
        self.requests: list[tuple[str, str | None]] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                peer.requests.append(("POST", self.headers["Authorization"]))
                offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
                answer = asyncio.run_coroutine_threadsafe(peer._answer(offer), peer._loop).result(15)
                data = answer.encode()
                self.send_response(201)
                for name, value in (("Content-Type", "application/sdp"), ("Location", "/whip/1")):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_DELETE(self) -> None:
                peer.requests.append(("DELETE", self.headers["Authorization"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    async def _answer(self, offer: str) -> str:
        from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
        from aiortc.mediastreams import MediaStreamError

        self.connection = connection = RTCPeerConnection(RTCConfiguration([]))  # no STUN server is waited for

        async def read(track: Any) -> None:
            while True:
                try:
                    frame = await track.recv()
                except MediaStreamError:
                    return
                self.numbers.append(self._read(frame.to_ndarray(format="gray")))

        connection.on("track", lambda track: asyncio.ensure_future(read(track)))
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return str(connection.localDescription.sdp)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        asyncio.run_coroutine_threadsafe(self.connection.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
