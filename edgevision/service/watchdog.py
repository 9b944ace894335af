"""What a service manager is told: that the run is ready, that it still does its work, that it ends.

The protocol is that of systemd's ``sd_notify`` (https://www.freedesktop.org/software/systemd/man/latest/
sd_notify.html): datagrams to a socket that the environment names. Where none is named nothing is sent.
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
        environment: where ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` are looked up; ``os.environ`` by default.

    Attributes:
        watchdog_s: the manager restarts a service that is silent for so long; None where it does not watch.
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
        """Tells the manager; a manager that is gone is no reason to end a run.

        Args:
            states: such as ``READY="1"`` or ``STATUS="4 streams"``.
        """
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in states.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # nor is one that does not read
            channel.connect(self._address)
            channel.sendall(text.encode())


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    usec, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (owner and owner != str(os.getpid())):
        return None
    return int(usec) / 1e6


class Watchdog:
    """Tells the service manager how a run does, from a thread of its own; a context manager.

    It says ready when entered and stopping when left. Between them it gives a sign of life at half the
    manager's interval, but only while no stream is stalled: a run that hangs is thus restarted.

    Args:
        watch: judges the run.
        notifier: to the manager.
    """

    def __init__(self, watch: HealthWatch, notifier: Notifier | None = None) -> None:
        self._watch = watch
        self._notifier = notifier or Notifier()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        if self._notifier.is_watched:
            self._notifier.send(READY="1", STATUS="running")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._notifier.send(STOPPING="1", STATUS="finishing the outputs")

    def _live(self) -> None:
        interval_s = min(_STATUS_S, (self._notifier.watchdog_s or 2 * _STATUS_S) / 2)
        while True:
            health = self._watch.look()
            states = {"STATUS": ", ".join(f"{name} {state}" for name, state in health.streams.items())}
            if self._notifier.watchdog_s is not None and not health.stalled:
                states["WATCHDOG"] = "1"
            self._notifier.send(**states)
            if self._over.wait(interval_s):
                return
