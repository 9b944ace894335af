"""Events through a real Mosquitto that comes, goes, freezes and asks for a password."""

from __future__ import annotations

import builtins
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import msgspec
import pytest

from edgevision.errors import SinkError, UsageError
from edgevision.events import BestFrame, Event, EventKind, ObjectState
from edgevision.events.mqtt import PASSWORD_VARIABLE, BrokerAddress, MqttOutlet
from edgevision.extras import install_command
from edgevision.video.base import Delivery
from tests.support.broker import MOSQUITTO, PASSWORD, USER, Broker, Listener, wait_until

pytest.importorskip("paho.mqtt", reason="needs the extra 'mqtt'")

needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="needs Debian's package mosquitto")
BEST = BestFrame(frame=1, time_s=0.1, score=0.9, box=(0, 0, 1, 1))


def event_of(number):
    state = ObjectState(
        track_id=number,
        class_name="person",
        score=0.9,
        box=(0, 0, 1, 1),
        first_s=0,
        last_s=1,
        sightings=3,
        zones=[],
        visited=[],
        best=BEST,
    )
    return Event(
        schema=1, kind=EventKind.NEW, id=f"run-{number}", source="clip", at="", before=None, after=state
    )


def address_of(broker, **changes):
    return BrokerAddress(host="127.0.0.1", port=broker.port, prefix="yard", **changes)


def ids(payloads):
    return [msgspec.json.decode(payload, type=Event).id for payload in payloads]


def numbered(count):
    return [f"run-{i}" for i in range(count)]


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as running:
        yield running


@needs_broker
def test_events_arrive_in_order_with_qos_1(broker):
    with Listener(broker.port) as listener:
        outlet = MqttOutlet(address_of(broker))
        for i in range(50):
            outlet.publish(event_of(i))
        outlet.close()
        wait_until(lambda: len(listener.of("events")) == 50, "50 events")
    assert ids(listener.of("yard/events")) == numbered(50)
    assert {qos for topic, _, qos, _ in listener.messages if topic == "yard/events"} == {1}
    assert (outlet.taken, outlet.lost, outlet.waiting) == (50, 0, 0)


@needs_broker
def test_a_run_that_is_over_before_the_connection_stands_waits_for_it(broker):
    broker.freeze()
    outlet = MqttOutlet(address_of(broker), close_s=30)
    outlet.publish(event_of(0))
    timer = threading.Timer(0.5, broker.thaw)
    timer.start()
    outlet.close()
    timer.join()
    assert (outlet.taken, outlet.lost) == (1, 0)


@needs_broker
def test_availability_is_retained_and_ends_with_offline(broker):
    outlet = MqttOutlet(address_of(broker))
    wait_until(lambda: outlet.is_connected, "the connection")
    with Listener(broker.port, "yard/availability") as late:
        wait_until(lambda: late.messages, "what was retained")
        assert late.messages == [("yard/availability", b"online", 1, True)]
        outlet.close()
        wait_until(lambda: len(late.messages) == 2, "the goodbye")
    assert late.of("availability") == [b"online", b"offline"]
    outlet.close()
    assert (outlet.taken, outlet.lost) == (0, 0)


@needs_broker
def test_the_last_will_speaks_for_a_killed_process(broker):
    script = (
        "import sys, time\n"
        "from edgevision.events.mqtt import BrokerAddress, MqttOutlet\n"
        "outlet = MqttOutlet(BrokerAddress.parse(sys.argv[1]))\n"
        "time.sleep(60)\n"
    )
    with Listener(broker.port, "yard/availability") as listener:
        child = subprocess.Popen([sys.executable, "-c", script, f"mqtt://127.0.0.1:{broker.port}/yard"])
        try:
            wait_until(lambda: listener.of("availability") == [b"online"], "the process", 120)
            os.kill(child.pid, signal.SIGKILL)
            wait_until(lambda: listener.of("availability") == [b"online", b"offline"], "the will")
        finally:
            child.kill()
            child.wait()
    with Listener(broker.port, "yard/availability") as late:
        wait_until(lambda: late.messages, "what was retained")
        assert late.messages == [("yard/availability", b"offline", 1, True)]


@needs_broker
def test_a_broker_that_comes_late_gets_everything(tmp_path):
    broker = Broker(tmp_path)
    outlet = MqttOutlet(address_of(broker))
    for i in range(20):
        outlet.publish(event_of(i))
    assert (outlet.waiting, outlet.lost) == (20, 0)
    with broker:
        wait_until(lambda: outlet.taken == 20, "the late broker", 30)
        outlet.close()
    assert outlet.lost == 0


@needs_broker
def test_while_the_broker_is_away_events_wait_and_what_finds_no_room_is_counted(broker, caplog):
    outlet = MqttOutlet(address_of(broker), capacity=5)
    wait_until(lambda: outlet.is_connected, "the connection")
    broker.kill()
    wait_until(lambda: not outlet.is_connected, "the loss of the broker")
    slowest = 0.0
    for i in range(8):
        start = time.perf_counter()
        outlet.publish(event_of(i))
        slowest = max(slowest, time.perf_counter() - start)
    assert (outlet.waiting, outlet.lost) == (5, 3)
    assert slowest < 0.2  # a wait for a broker would take seconds
    account = outlet.delivery()
    assert (account.delivered, account.waiting, account.lost) == (0, 5, 3)
    assert account.alarm is not None
    assert caplog.text.count("further ones are lost") == 1
    broker.start()
    wait_until(lambda: outlet.taken == 5, "the kept events", 30)
    outlet.publish(event_of(7))
    wait_until(lambda: outlet.taken == 6, "one more")
    assert outlet.delivery() == Delivery(output=outlet.name, kind="events", delivered=6, lost=3)
    with Listener(broker.port) as listener:
        outlet.publish(event_of(8))
        outlet.close()
        wait_until(lambda: ids(listener.of("events")) == ["run-8"], "the newest")
    assert (outlet.taken, outlet.lost) == (7, 3)


@needs_broker
def test_a_frozen_broker_holds_nothing_up(broker):
    """It accepts connections and packets, and never answers."""
    outlet = MqttOutlet(address_of(broker), capacity=100, close_s=0.5)
    wait_until(lambda: outlet.is_connected, "the connection")
    broker.freeze()
    start = time.perf_counter()
    for i in range(200):
        outlet.publish(event_of(i))
    assert time.perf_counter() - start < 1.0
    assert (outlet.waiting, outlet.lost) == (100, 100)
    assert outlet.delivery().alarm == "100 events wait for the broker; further ones are lost"
    start = time.perf_counter()
    outlet.close()
    assert time.perf_counter() - start < 3.0
    assert (outlet.taken, outlet.waiting, outlet.lost) == (0, 0, 200)


@needs_broker
def test_what_was_never_confirmed_is_lost_at_the_end(tmp_path):
    outlet = MqttOutlet(address_of(Broker(tmp_path)))
    for i in range(3):
        outlet.publish(event_of(i))
    outlet.close()
    outlet.publish(event_of(3))
    assert (outlet.taken, outlet.lost) == (0, 4)


@needs_broker
@pytest.mark.parametrize("where", ["address", "environment"])
def test_tls_and_password(tmp_path, where, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    with Broker(tmp_path, secured=True) as broker:
        user = USER
        if where == "environment":
            monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
        else:
            user += ":" + quote(PASSWORD, safe="")
        uri = f"mqtts://{user}@localhost:{broker.port}/yard?ca={tmp_path / 'ca.crt'}"
        address = BrokerAddress.parse(uri)
        outlet = MqttOutlet(address)
        outlet.publish(event_of(0))
        wait_until(lambda: outlet.taken == 1, "the confirmation")
        outlet.close()
    shown = f"{address!r} {outlet.name} {caplog.text}"
    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


@needs_broker
def test_a_wrong_password_is_told_once_without_it(tmp_path, caplog):
    with Broker(tmp_path, secured=True) as broker:
        address = address_of(
            broker, user=USER, password="wrong-one", is_tls=True, ca=str(tmp_path / "ca.crt")
        )
        outlet = MqttOutlet(address)
        outlet.publish(event_of(0))
        wait_until(lambda: "refused the connection" in caplog.text, "the refusal")
        time.sleep(1.5)  # another attempt
        outlet.close()
    assert caplog.text.count("refused the connection: Not authorized; check user and password") == 1
    assert "wrong-one" not in caplog.text
    assert (outlet.taken, outlet.lost) == (0, 1)


@needs_broker
def test_a_broker_with_an_unknown_certificate_gets_nothing(tmp_path, caplog):
    with Broker(tmp_path, secured=True) as broker:
        other = str(tmp_path / "other.crt")
        outlet = MqttOutlet(address_of(broker, user=USER, password=PASSWORD, is_tls=True, ca=other))
        outlet.publish(event_of(0))
        wait_until(lambda: "cannot be reached" in caplog.text, "the refusal")
        outlet.close()
    assert (outlet.taken, outlet.lost) == (0, 1)


@needs_broker
def test_a_broker_whose_certificate_is_for_another_name_gets_nothing(tmp_path, caplog):
    with Broker(tmp_path, secured=True, names="DNS:broker.example") as broker:
        ours = str(tmp_path / "ca.crt")
        outlet = MqttOutlet(address_of(broker, user=USER, password=PASSWORD, is_tls=True, ca=ours))
        outlet.publish(event_of(0))
        wait_until(lambda: outlet.taken or "cannot be reached" in caplog.text, "the refusal")
        outlet.close()
    assert (outlet.taken, outlet.lost) == (0, 1)


def test_addresses():
    plain = BrokerAddress.parse("mqtt://broker.local", {})
    assert (plain.host, plain.port, plain.prefix, plain.user) == ("broker.local", 1883, "edgevision", None)
    full = BrokerAddress.parse("mqtts://ann:p%40ss%2Fword@10.0.0.2:9/site/yard/?ca=a.pem&client-id=c1", {})
    assert (full.user, full.password, full.port, full.prefix) == ("ann", "p@ss/word", 9, "site/yard")
    assert (full.is_tls, full.ca, full.client_id) == (True, "a.pem", "c1")
    assert full.name == "mqtts://10.0.0.2:9/site/yard"
    assert BrokerAddress.parse("mqtts://h", {}).port == 8883
    assert BrokerAddress.parse("mqtt://ann@h", {PASSWORD_VARIABLE: "x"}).password == "x"
    assert BrokerAddress.parse("mqtt://h", {PASSWORD_VARIABLE: "x"}).password is None


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mqtt://ann:hunter22@", "is not a valid broker address"),
        ("http://ann:hunter22@host", "is not a valid broker address"),
        ("mqtt://ann:hunter22@host:port", "no valid port"),
        ("mqtt://ann:hunter22@host:99999", "no valid port"),
        ("mqtt://ann:hunter22@host/a+b", "wildcard"),
        ("mqtt://ann:hunter22#@host/a", "write '#' in a user or password as %23"),
        ("mqtt://ann:12?hunter22@host/a", "write '?' in a user or password as %3F"),
        ("mqtt://ann:12/hunter22@host/a", "write '/' in a user or password as %2F"),
        ("mqtt://ann:hunter22@host/a#b", "is not allowed in an address"),
        ("mqtt://ann:hunter22@host?ca=x", "mqtts://"),
        ("mqtts://ann:hunter22@host?cert=x", "need each other"),
        ("mqtts://ann:hunter22@host?cacert=x", "did you mean 'cert' or 'ca'"),
    ],
)
def test_addresses_that_cannot_be(uri, message):
    with pytest.raises(UsageError) as caught:
        BrokerAddress.parse(uri, {})
    assert message in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_certificate_that_cannot_be_read_is_named(tmp_path):
    address = BrokerAddress("localhost", 1, "a", is_tls=True, ca=str(tmp_path / "none.pem"))
    with pytest.raises(SinkError, match=r"none\.pem: No such file"):
        MqttOutlet(address)
    (tmp_path / "bad.pem").write_text("nonsense")
    with pytest.raises(SinkError, match="expected a PEM file"):
        MqttOutlet(BrokerAddress("localhost", 1, "a", is_tls=True, ca=str(tmp_path / "bad.pem")))


def test_without_the_library_one_line_names_the_extra(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("paho"):
            raise ModuleNotFoundError("No module named 'paho'", name="paho")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="MQTT needs paho.*" + re.escape(install_command("mqtt"))):
        MqttOutlet(BrokerAddress("localhost", 1, "a"))
