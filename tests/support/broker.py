"""A real Mosquitto for tests, and a listener."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
MOSQUITTO = shutil.which("mosquitto", path=_PATH)
USER, PASSWORD = "camera", "s3cret/of:ours"


def wait_until(is_true: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


class Broker:
    """Mosquitto on a free port of this machine.

    Args:
        folder: for its files.
        secured: TLS with a certificate of our own making, and one user.
        names: that the certificate is for, in OpenSSL's form.
    """

    def __init__(
        self, folder: Path, *, secured: bool = False, names: str = "DNS:localhost,IP:127.0.0.1"
    ) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "user root"]
        if secured:
            make_certificates(folder, names)
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), USER, PASSWORD], check=True)
            lines += [
                "allow_anonymous false",
                f"password_file {passwords}",
                f"certfile {folder / 'server.crt'}",
                f"keyfile {folder / 'server.key'}",
            ]
        else:
            lines.append("allow_anonymous true")
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None, "mosquitto is not installed"
        log = (self.folder / "mosquitto.log").open("ab")
        with log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", self._config], stdout=log, stderr=log)
        wait_until(self._answers, "Mosquitto")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def make_certificates(folder: Path, names: str) -> None:
    """``ca.crt``, ``server.crt`` and ``server.key`` for ``names``, and ``other.crt`` that signed nothing."""

    def openssl(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("ca", "other"):
        signed = ("-x509", "-days", "2", "-subj", f"/CN={name}", "-out", folder / f"{name}.crt")
        openssl("req", *curve, *signed, "-keyout", folder / f"{name}.key")
    request = folder / "server.csr"
    openssl("req", *curve, "-subj", "/CN=localhost", "-keyout", folder / "server.key", "-out", request)
    extension = folder / "names"
    extension.write_text(f"subjectAltName={names}\n")
    signer = ("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", request, *signer, "-extfile", extension, "-out", folder / "server.crt")


class Listener:
    """Keeps what arrives: ``(topic, payload, qos, retained)``."""

    def __init__(self, port: int, topic: str = "#") -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, bytes, int, bool]] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, bytes(message.payload), message.qos, message.retain)
        )
        self._is_listening = False
        self._client.on_subscribe = self._on_subscribe
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_until(lambda: self._is_listening, "the listener")

    def _on_subscribe(self, *_: object) -> None:
        self._is_listening = True

    def of(self, ending: str) -> list[bytes]:
        return [payload for topic, payload, _, _ in list(self.messages) if topic.endswith(ending)]

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
