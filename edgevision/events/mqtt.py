"""Events over MQTT: QoS 1, a last will, and tolerance of a broker that is unavailable for any time."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from edgevision.address import Address
from edgevision.closeable import Closeable
from edgevision.errors import SinkError, UsageError, nearest
from edgevision.events.records import Event, encode
from edgevision.extras import needs_extra
from edgevision.video.base import Delivery

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_LOG = logging.getLogger(__name__)

PASSWORD_VARIABLE = "EDGEVISION_MQTT_PASSWORD"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_OPTIONS = ("ca", "cert", "key", "client-id")
_QOS = 1
_KEEP_ALIVE_S = 30
_RETRY_S = (1, 30)
_RESERVE = 8  # places in the library's queue that are reserved for the availability


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Address and credentials of a broker.

    Attributes:
        host, port: of the broker.
        prefix: topics are ``PREFIX/events`` and ``PREFIX/availability``.
        user, password: None where the broker needs none; ``repr`` does not show the password.
        is_tls: encrypted, with the broker's certificate and name checked.
        ca, cert, key: PEM files: the authority that signed the broker's certificate (default: the
            system's), and the client's certificate and key.
        client_id: empty for one that the library generates.
    """

    host: str
    port: int
    prefix: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    is_tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    client_id: str = ""

    @property
    def name(self) -> str:
        """As users see it, without credentials."""
        return f"mqtt{'s' if self.is_tls else ''}://{self.host}:{self.port}/{self.prefix}"

    @classmethod
    def parse(cls, uri: str, environment: Mapping[str, str] = os.environ) -> BrokerAddress:
        """Reads ``mqtt[s]://[user[:password]@]host[:port][/prefix][?ca=FILE&cert=FILE&key=FILE&client-id=ID]``.

        Args:
            uri: the address; reserved characters in user and password are percent-encoded.
            environment: holds the password (:data:`PASSWORD_VARIABLE`) where the address has none.

        Raises:
            UsageError: the address is not valid; the message does not repeat the password.
        """
        address = Address.parse(uri)
        shown = address.shown
        if address.reserved:
            raise UsageError(f"{shown} is not a valid broker address{address.advice}")
        try:
            parts = urlsplit(address.text)
            port = parts.port
        except ValueError:
            raise UsageError(f"{shown} has no valid port; expected mqtt://user@host:1883/prefix") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise UsageError(
                f"{shown} is not a valid broker address; expected mqtt://host or mqtts://user@host/prefix"
            )
        if parts.fragment:
            raise UsageError(f"{shown}: '#' is not allowed in an address; write %23 in a user or password")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        for option in options:
            if option not in _OPTIONS:
                hint = nearest(option, _OPTIONS) or f"; there are: {', '.join(_OPTIONS)}"
                raise UsageError(f"{shown}: unknown option '{option}'{hint}")
        if parts.scheme == "mqtt" and {"ca", "cert", "key"} & options.keys():
            raise UsageError(f"{shown}: certificates need encryption; write mqtts:// instead of mqtt://")
        if ("cert" in options) != ("key" in options):
            raise UsageError(f"{shown}: 'cert' and 'key' need each other; give both or neither")
        prefix = unquote(parts.path).strip("/") or "edgevision"
        if any(sign in prefix for sign in "+#"):
            raise UsageError(f"{shown}: the topic prefix '{prefix}' contains a wildcard; remove + and #")
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else environment.get(PASSWORD_VARIABLE)
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            prefix=prefix,
            user=user,
            password=password if user is not None else None,
            is_tls=parts.scheme == "mqtts",
            ca=options.get("ca"),
            cert=options.get("cert"),
            key=options.get("key"),
            client_id=options.get("client-id", ""),
        )


class MqttOutlet(Closeable):
    """Publishes events with QoS 1, from a network thread of its own.

    ``PREFIX/availability`` is retained: ``online`` while we are connected, ``offline`` after a clean end, and
    as the last will when the connection breaks. Each event is one message on ``PREFIX/events``.

    Nothing here waits for the broker, which may be unavailable at the start or later. Up to ``capacity``
    events that it has not confirmed are kept; further ones are lost and counted, as are those that are not
    confirmed when the run ends. An event may be delivered twice where the connection breaks.

    Args:
        address: of the broker.
        capacity: events that are kept while the broker is unavailable.
        close_s: how long :meth:`close` waits for confirmations, in seconds.

    Raises:
        UsageError: the library is not installed.
        SinkError: a certificate or key cannot be read.
    """

    def __init__(self, address: BrokerAddress, *, capacity: int = 1000, close_s: float = 5.0) -> None:
        with needs_extra("mqtt", "MQTT"):
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        self.name = address.name
        self._events_topic = f"{address.prefix}/events"
        self._availability_topic = f"{address.prefix}/availability"
        self._capacity, self._close_s = capacity, close_s
        # Each counter has one writer, so none needs a lock: the run's thread, or the network's.
        self._sent = self._refused = self._confirmed = 0
        self._availability_ids: set[int] = set()
        self._was_full = self._is_closed = False
        self._problem = ""
        self._connected = threading.Event()
        client = Client(CallbackAPIVersion.VERSION2, client_id=address.client_id)
        client.max_queued_messages_set(capacity + _RESERVE)
        client.reconnect_delay_set(*_RETRY_S)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.is_tls:
            client.tls_set_context(_tls_context(address))
        client.will_set(self._availability_topic, "offline", qos=_QOS, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._client = client
        client.connect_async(address.host, address.port, keepalive=_KEEP_ALIVE_S)
        client.loop_start()

    @property
    def taken(self) -> int:
        """Events that the broker has confirmed."""
        return self._confirmed

    @property
    def waiting(self) -> int:
        """Events that wait for the broker."""
        return 0 if self._is_closed else self._sent - self._confirmed

    @property
    def lost(self) -> int:
        """Events beyond the capacity; after closing, also those that were never confirmed."""
        return self._refused + (self._sent - self._confirmed if self._is_closed else 0)

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    def delivery(self) -> Delivery:
        full = (
            f"{self._capacity} events wait for the broker; further ones are lost" if self._was_full else None
        )
        return Delivery(
            output=self.name,
            kind="events",
            delivered=self.taken,
            waiting=self.waiting,
            lost=self.lost,
            alarm=self._problem or full,
        )

    def publish(self, event: Event) -> None:
        is_full = self._is_closed or self.waiting >= self._capacity
        if not is_full:
            # Without a connection the library reports an error, but keeps the message.
            answer = self._client.publish(self._events_topic, encode(event), qos=_QOS)
            is_full = answer.rc == _queue_full()
        if is_full:
            self._refused += 1
            if not self._was_full:
                _LOG.error(
                    "%s: %d events wait for the broker; further ones are lost", self.name, self.waiting
                )
        else:
            self._sent += 1
        self._was_full = is_full

    def close(self) -> None:
        if self._is_closed:
            return
        deadline = time.monotonic() + self._close_s
        # Wait for an attempt that has not failed, or a short run would lose every event on a slow machine.
        while self.waiting and (self.is_connected or not self._problem) and time.monotonic() < deadline:
            time.sleep(0.01)
        goodbye = None
        if self.is_connected:
            goodbye = self._client.publish(self._availability_topic, "offline", qos=_QOS, retain=True)
            with contextlib.suppress(
                RuntimeError, ValueError
            ):  # it broke just now: the last will says the same
                goodbye.wait_for_publish(max(deadline - time.monotonic(), 0.5))
        self._client.disconnect()
        self._client.loop_stop()
        with contextlib.suppress(RuntimeError, ValueError):
            # Its confirmation may have come before its id was known, and was then counted as an event's.
            if goodbye is not None and goodbye.is_published():
                self._confirmed -= 1
        self._is_closed = True
        if self.lost:
            _LOG.error("%s: %d events were lost, %d delivered", self.name, self.lost, self.taken)

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._report_problem(f"the broker refused the connection: {reason}; check user and password")
            return
        self._connected.set()
        self._problem = ""
        _LOG.info("%s: connected", self.name)
        here = client.publish(self._availability_topic, "online", qos=_QOS, retain=True)
        self._availability_ids.add(here.mid)

    def _on_connect_fail(self, _client: Client, _data: Any) -> None:
        self._report_problem("the broker cannot be reached")

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was_connected = self.is_connected
        self._connected.clear()
        if was_connected and reason.is_failure:
            self._report_problem(f"the connection broke: {reason}")

    def _on_publish(self, _client: Client, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        if mid in self._availability_ids:
            self._availability_ids.discard(mid)
        else:
            self._confirmed += 1

    def _report_problem(self, problem: str) -> None:
        """Logs a problem once, not at each attempt."""
        if problem != self._problem:
            _LOG.warning("%s: %s; retrying, events wait", self.name, problem)
        self._problem = problem


def _queue_full() -> int:
    from paho.mqtt.enums import MQTTErrorCode

    return int(MQTTErrorCode.MQTT_ERR_QUEUE_SIZE)


def _tls_context(address: BrokerAddress) -> ssl.SSLContext:
    """A context that checks the broker's certificate and name, which cannot be switched off."""
    file = address.ca
    try:
        context = ssl.create_default_context(cafile=file)
        # Python 3.13 also asks for identifiers that RFC 5280 wants and that certificates made as mosquitto's
        # manual says lack; no other client of a broker does. Signature, dates and name are checked as ever.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if address.cert is not None:
            file = address.cert
            context.load_cert_chain(address.cert, address.key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        found = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SinkError(f"cannot use the certificate {file}: {found}; expected a PEM file") from error
    return context
