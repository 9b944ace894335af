"""Notifies the service manager that the run is ready, alive and stopping.

The protocol is systemd's ``sd_notify`` (https://www.freedesktop.org/software/systemd/man/latest/
sd_notify.html): datagrams to a socket named in the environment. Without that variable nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Mapping
from types import TracebackType

from edgevision.service.health import HealthWatch

_STATUS_S = 10.0


class Notifier:
    """Sends states to the service manager.

    Args:
        environment: holds ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``; ``os.environ`` by default.

    Attributes:
        watchdog_s: the manager restarts a service that is silent for this long; None if it does not watch.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = os.environ if environment is None else environment
        address = found.get("NOTIFY_SOCKET", "")
        # '@' stands for the zero byte of Linux's abstract sockets.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(found) if address else None

    @property
    def is_watched(self) -> bool:
        """Whether there is a service manager."""
        return bool(self._address)

    def send(self, **states: str) -> None:
        """Sends states; a manager that cannot be reached does not end the run.

        Args:
            states: such as ``READY="1"`` or ``STATUS="4 streams"``.
        """
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in states.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # nor does one that does not read
            channel.connect(self._address)
            channel.sendall(text.encode())


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    usec, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (owner and owner != str(os.getpid())):
        return None
    return int(usec) / 1e6


class Watchdog:
    """Reports the health of a run to the service manager, on its own thread; a context manager.

    It sends READY when entered and STOPPING when left. Between them it sends a keep-alive at half the
    manager's interval, but only while no stream is stalled: the manager thus restarts a run that hangs.

    Args:
        watch: derives the run's health.
        notifier: sends to the manager.
    """

    def __init__(self, watch: HealthWatch, notifier: Notifier | None = None) -> None:
        self._watch = watch
        self._notifier = notifier or Notifier()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._notify, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        if self._notifier.is_watched:
            self._notifier.send(READY="1", STATUS="running")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._notifier.send(STOPPING="1", STATUS="finishing the outputs")

    def _notify(self) -> None:
        interval_s = min(_STATUS_S, (self._notifier.watchdog_s or 2 * _STATUS_S) / 2)
        while True:
            health = self._watch.look()
            states = {"STATUS": ", ".join(f"{name} {state}" for name, state in health.streams.items())}
            if self._notifier.watchdog_s is not None and not health.stalled:
                states["WATCHDOG"] = "1"
            self._notifier.send(**states)
            if self._stopped.wait(interval_s):
                return
