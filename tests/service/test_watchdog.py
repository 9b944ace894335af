import itertools
import socket
import time

import pytest

from edgevision.pipeline import StreamState
from edgevision.service.health import HealthWatch
from edgevision.service.watchdog import Notifier, Watchdog
from tests.support.pipeline import run_statistics, stream_statistics

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs unix sockets")


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(60)

    def next(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def left(self):
        self.socket.settimeout(0.05)
        found = []
        try:
            while True:
                found.append(self.next())
        except TimeoutError:
            return found


@pytest.fixture
def manager(tmp_path):
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.socket.close()


def environment(manager, **more):
    return {"NOTIFY_SOCKET": manager.socket.getsockname(), **more}


def watch(*streams, stale_s=30.0):
    return HealthWatch(lambda: run_statistics(*streams), stale_s)


def test_states_arrive_as_the_protocol_wants_them(manager):
    Notifier(environment(manager)).send(READY="1", STATUS="two\nlines")
    assert manager.socket.recv(100) == b"READY=1\nSTATUS=two lines"


def test_abstract_sockets_begin_with_an_at_sign():
    manager = Manager("\0edgevision-test-notify")
    try:
        Notifier({"NOTIFY_SOCKET": "@edgevision-test-notify"}).send(READY="1")
        assert manager.next() == {"READY": "1"}
    finally:
        manager.socket.close()


def test_without_a_manager_nothing_happens():
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    notifier.send(READY="1")
    assert not notifier.is_watched
    assert notifier.watchdog_s is None
    with Watchdog(watch(), notifier):
        pass


def test_a_manager_that_does_not_read_holds_nothing_up(manager):
    notifier = Notifier(environment(manager))
    for _ in range(2000):  # more than any socket keeps
        notifier.send(STATUS="x" * 1000)
    assert len(manager.left()) < 2000


def test_a_manager_that_is_gone_ends_nothing(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).send(READY="1")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, None),
        ({}, None),
    ],
)
def test_the_interval_is_that_of_the_environment(manager, more, expected):
    assert Notifier(environment(manager, **more)).watchdog_s == expected


def test_a_run_that_works_gives_signs_of_life_at_half_the_interval(manager):
    notifier = Notifier(environment(manager, WATCHDOG_USEC="200000"))
    start = time.monotonic()
    with Watchdog(watch(stream_statistics("door")), notifier):
        assert manager.next() == {"READY": "1", "STATUS": "running"}
        for _ in range(4):
            assert manager.next() == {"STATUS": "door running", "WATCHDOG": "1"}
        elapsed = time.monotonic() - start
    assert elapsed >= 0.3  # three waits of 0.1 s
    assert manager.left()[-1]["STOPPING"] == "1"


def test_a_run_that_hangs_gives_none(manager):
    """On a made-up clock: a look every 15 s, and 30 s without a frame are too long."""
    clock = itertools.count(0, 15)
    hanging = HealthWatch(lambda: run_statistics(stream_statistics("door")), 30.0, lambda: next(clock))
    with Watchdog(hanging, Notifier(environment(manager, WATCHDOG_USEC="2000"))):
        assert manager.next() == {"READY": "1", "STATUS": "running"}
        assert [manager.next() for _ in range(4)] == [
            {"STATUS": "door running", "WATCHDOG": "1"},
            {"STATUS": "door running", "WATCHDOG": "1"},
            {"STATUS": "door stalled: no frame for 30 s"},
            {"STATUS": "door stalled: no frame for 45 s"},
        ]


def test_a_camera_that_is_awaited_is_no_reason_to_restart(manager):
    clock = itertools.count(0, 15)
    lost = stream_statistics("door", state=StreamState.RECONNECTING)
    waiting = HealthWatch(lambda: run_statistics(lost), 30.0, lambda: next(clock))
    with Watchdog(waiting, Notifier(environment(manager, WATCHDOG_USEC="2000"))):
        manager.next()
        for _ in range(5):
            assert manager.next() == {"STATUS": "door reconnecting", "WATCHDOG": "1"}


def test_without_a_watchdog_only_the_status_is_told(manager):
    with Watchdog(watch(stream_statistics("door")), Notifier(environment(manager))):
        manager.next()
        assert manager.next() == {"STATUS": "door running"}
