"""The metrics server: what is served, at which address, and what is refused.

Also tests ``edgevision.service.metrics``.
"""

import contextlib
import json
import logging
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgevision.engines.fake import FakeEngine
from edgevision.errors import UsageError
from edgevision.model import Model
from edgevision.pipeline import (
    EngineStatistics,
    LatencyControl,
    Pipeline,
    RunStatistics,
    Stream,
    StreamState,
    Times,
)
from edgevision.pipeline.statistics import ConfigReload
from edgevision.recording import Recorder, Rotation, SegmentStore
from edgevision.service.health import HealthWatch
from edgevision.tracking.counts import LineTotals, ZoneTotals
from edgevision.video.base import Delivery, Sink
from edgevision.video.sources.arrays import ArraySource
from tests.support.pipeline import ledger_entry, run_statistics, stream_statistics
from tests.support.video import eventually

parser = pytest.importorskip("prometheus_client.parser", reason="needs the extra 'metrics'")

from edgevision.service.server import MetricsServer, check_address  # noqa: E402  (needs prometheus_client)

TIMES = Times(count=4, total_s=0.2, buckets=(0, 0, 0, 1, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4))


def get(url, accept="text/plain"):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def samples(text):
    """Every sample of an exposition, by its name and labels as they are written."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def scrape(run):
    with MetricsServer(lambda: run, 0) as server:
        return samples(get(server.url)[2])


def test_every_figure_of_a_stream_is_exposed():
    stream = stream_statistics(
        "door",
        frames=ledger_entry(
            captured=20, inferred=10, dropped={"newer_frame": 5}, failed={"undecodable": 2}, waiting=3
        ),
        latency=TIMES,
        stages={"inference": TIMES},
        queues={"inference": 2},
        reconnects=3,
        failed_attempts=7,
        latency_control=LatencyControl(bound_ms=150.0, on_fallback=True),
    )
    engine = EngineStatistics(model="m", engine="fake engine", calls=9, frames=10, call=TIMES)
    found = scrape(RunStatistics(seconds=60.0, busy=0.25, streams=(stream,), engines=(engine,)))
    expected = {
        "edgevision_frames_captured_total{stream=door}": 20,
        "edgevision_frames_inferred_total{stream=door}": 10,
        "edgevision_frames_written_total{stream=door}": 10,
        "edgevision_frames_dropped_total{reason=newer_frame,stream=door}": 5,
        "edgevision_frames_dropped_total{reason=shutdown,stream=door}": 0,
        "edgevision_frames_failed_total{reason=undecodable,stream=door}": 2,
        "edgevision_frames_failed_total{reason=model,stream=door}": 0,
        "edgevision_frames_waiting{stream=door}": 3,
        "edgevision_queue_depth{stage=inference,stream=door}": 2,
        "edgevision_reconnects_total{stream=door}": 3,
        "edgevision_reconnect_failures_total{stream=door}": 7,
        "edgevision_stream_up{stream=door}": 1,
        "edgevision_detections_total{class=red,stream=door}": 10,
        "edgevision_latency_bound_seconds{stream=door}": 0.15,
        "edgevision_fallback_active{stream=door}": 1,
        "edgevision_latency_seconds_bucket{le=0.01,stream=door}": 1,
        "edgevision_latency_seconds_bucket{le=0.025,stream=door}": 3,
        "edgevision_latency_seconds_bucket{le=+Inf,stream=door}": 4,
        "edgevision_latency_seconds_sum{stream=door}": 0.2,
        "edgevision_stage_seconds_count{stage=inference,stream=door}": 4,
        "edgevision_engine_info{engine=fake engine,model=m}": 1,
        "edgevision_engine_calls_total{model=m}": 9,
        "edgevision_engine_call_seconds_count{model=m}": 4,
        "edgevision_engine_busy_ratio{}": 0.25,
        "edgevision_run_seconds{}": 60,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["process_resident_memory_bytes{}"] > 10e6
    assert found["process_open_fds{}"] > 3


@pytest.mark.parametrize("successful", [True, False])
def test_how_a_file_of_streams_was_last_read_is_exposed(successful):
    config = ConfigReload(successful=successful, success_time=1.7e9)
    found = scrape(msgspec.structs.replace(run_statistics(), config=config))
    assert found["edgevision_config_last_reload_successful{}"] == float(successful)
    assert found["edgevision_config_last_reload_success_timestamp_seconds{}"] == 1.7e9
    assert not [name for name in scrape(run_statistics()) if "config" in name]


def test_what_was_counted_is_exposed_from_zero_and_without_addresses():
    """Every wanted class of each zone and line stands at 0; a source that is away empties the gauges."""
    zones = {"yard": ZoneTotals(classes=("red",), inside={"red": 1}, entries={"red": 3}, exits={"red": 2})}
    stream = stream_statistics(
        "rtsp://camera.local/live",
        classes=("red", "green"),
        objects={"red": 4},
        in_view={"red": 1},
        zones=zones | {"gate": ZoneTotals()},
        lines={"door": LineTotals(outward={"green": 5})},
    )
    for state, inside in ((StreamState.RUNNING, 1), (StreamState.RECONNECTING, 0)):
        found = scrape(run_statistics(msgspec.structs.replace(stream, state=state)))
        told = {
            name.removeprefix("edgevision_").replace("stream=rtsp___camera.local_live", "S"): value
            for name, value in found.items()
            if name.startswith(("edgevision_objects", "edgevision_zone", "edgevision_line"))
        }
        assert not [name for name in found if "://" in name]
        assert told == {
            "objects_total{class=red,S}": 4,
            "objects_total{class=green,S}": 0,
            "objects_in_view{class=red,S}": inside,
            "objects_in_view{class=green,S}": 0,
            "zone_entries_total{class=red,S,zone=yard}": 3,
            "zone_entries_total{class=red,S,zone=gate}": 0,
            "zone_entries_total{class=green,S,zone=gate}": 0,
            "zone_exits_total{class=red,S,zone=yard}": 2,
            "zone_exits_total{class=red,S,zone=gate}": 0,
            "zone_exits_total{class=green,S,zone=gate}": 0,
            "zone_objects{class=red,S,zone=yard}": inside,
            "zone_objects{class=red,S,zone=gate}": 0,
            "zone_objects{class=green,S,zone=gate}": 0,
            "zone_dwell_seconds_count{S,zone=yard}": 2,
            "zone_dwell_seconds_count{S,zone=gate}": 0,
            "zone_dwell_seconds_sum{S,zone=yard}": 0,
            "zone_dwell_seconds_sum{S,zone=gate}": 0,
            "line_crossings_total{class=red,direction=in,line=door,S}": 0,
            "line_crossings_total{class=red,direction=out,line=door,S}": 0,
            "line_crossings_total{class=green,direction=in,line=door,S}": 0,
            "line_crossings_total{class=green,direction=out,line=door,S}": 5,
        }
        assert found["edgevision_detections_total{class=green,stream=rtsp___camera.local_live}"] == 0


def test_what_recordings_and_events_lost_is_exposed():
    stream = stream_statistics(
        "door",
        deliveries=(
            Delivery(output="clips/door-*.mp4", kind="recording", delivered=70, lost=12, alarm="disk full"),
            Delivery(output="mqtt://hub/door", kind="events", delivered=5, waiting=3, lost=2),
            Delivery(output="door.jsonl", kind="events", delivered=10, alarm="No space left on device"),
        ),
    )
    found = scrape(run_statistics(stream, stream_statistics("yard")))
    told = {
        name.removeprefix("edgevision_"): value
        for name, value in found.items()
        if name.startswith(("edgevision_recording", "edgevision_events"))
    }
    assert told == {
        "recording_frames_total{output=clips/door-*.mp4,stream=door}": 70,
        "recording_frames_lost_total{output=clips/door-*.mp4,stream=door}": 12,
        "recording_alarm{output=clips/door-*.mp4,stream=door}": 1,
        "events_delivered_total{output=mqtt___hub_door,stream=door}": 5,
        "events_delivered_total{output=door.jsonl,stream=door}": 10,
        "events_lost_total{output=mqtt___hub_door,stream=door}": 2,
        "events_lost_total{output=door.jsonl,stream=door}": 0,
        "events_waiting{output=mqtt___hub_door,stream=door}": 3,
        "events_waiting{output=door.jsonl,stream=door}": 0,
        "events_alarm{output=mqtt___hub_door,stream=door}": 0,
        "events_alarm{output=door.jsonl,stream=door}": 1,
    }


def test_a_recording_that_the_disk_stops_shows_in_the_metrics_of_its_run(tmp_path):
    """Room for the first half only; the run itself loses no frame."""
    room = iter([10**9] * 3)
    store = SegmentStore(tmp_path, "clip")
    source = ArraySource([np.zeros((48, 64, 3), np.uint8)] * 100, name="clip", frame_rate=10.0)
    recorder = Recorder(store, source.info, Rotation(seconds=600), room=lambda folder: next(room, 0))
    pipeline = Pipeline([Stream(source=source, sinks=[recorder])], [Model(FakeEngine())])
    with MetricsServer(pipeline.statistics, 0) as server:
        run = pipeline.run()
        found = samples(get(server.url)[2])
    labels = f"{{output={recorder.name},stream=clip}}"
    assert found["edgevision_frames_written_total{stream=clip}"] == 100
    assert found[f"edgevision_recording_alarm{labels}"] == 1
    assert found[f"edgevision_recording_frames_lost_total{labels}"] == recorder.missed > 50
    assert found[f"edgevision_recording_frames_total{labels}"] == recorder.recorded > 10
    assert run.streams[0].deliveries[0].alarm == recorder.alarm


def test_streams_are_told_apart():
    lost = stream_statistics("b", state=StreamState.RECONNECTING)
    found = scrape(run_statistics(stream_statistics("a"), lost))
    assert (found["edgevision_stream_up{stream=a}"], found["edgevision_stream_up{stream=b}"]) == (1, 0)


def test_stream_names_with_quotes_and_newlines_stay_one_sample():
    name = 'a "b"\\\nc'
    found = scrape(run_statistics(stream_statistics(name)))
    assert found[f"edgevision_frames_captured_total{{stream={name}}}"] == 15


def test_healthz_says_what_is_wrong_with_503():
    streams = [stream_statistics("a"), stream_statistics("b")]
    with MetricsServer(lambda: run_statistics(*streams), 0) as server:
        url = server.url.replace("/metrics", "/healthz")
        status, content_type, body = get(url)
        assert (status, content_type) == (200, "application/json")
        assert json.loads(body) == {
            "healthy": True,
            "stalled": False,
            "streams": {"a": "running", "b": "running"},
        }
        streams[1] = stream_statistics("b", state=StreamState.FAILED, error="gone")
        with pytest.raises(urllib.error.HTTPError) as answer:
            get(url)
    assert answer.value.code == 503
    assert json.loads(answer.value.read())["streams"]["b"] == "failed: gone"


def test_a_watch_can_be_shared():
    clock = [0.0]
    watch = HealthWatch(run_statistics, 10.0, lambda: clock[0])
    with MetricsServer(run_statistics, 0, watch=watch) as server:
        watch.look()
        clock[0] = 11.0
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(server.url.replace("/metrics", "/healthz"))


def test_openmetrics_is_spoken_where_it_is_asked_for():
    with MetricsServer(run_statistics, 0) as server:
        _, content_type, body = get(server.url, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


def test_other_paths_are_not_found():
    with MetricsServer(run_statistics, 0) as server, pytest.raises(urllib.error.HTTPError, match="404"):
        get(server.url + "/other")


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = rf"^metrics port {port} is in use on 127.0.0.1; choose another"
        with pytest.raises(UsageError, match=message):
            MetricsServer(run_statistics, port)
        with pytest.raises(UsageError, match=message):
            check_address(port)
    check_address(port)


@pytest.mark.parametrize(
    ("port", "host", "message"),
    [
        (70000, "127.0.0.1", "metrics port 70000 is not a valid port; expected 0 to 65535"),
        (0, "192.0.2.1", "cannot listen on 192.0.2.1, port 0"),
        (0, "no.such.host.invalid", "cannot listen on no.such.host.invalid, port 0"),
    ],
)
def test_impossible_addresses_are_refused(port, host, message):
    with pytest.raises(UsageError, match=message):
        MetricsServer(run_statistics, port, host)


def test_it_listens_on_this_machine_only_and_leaves_nothing_behind():
    before = threading.active_count()
    server = MetricsServer(run_statistics, 0)
    assert server.url == f"http://127.0.0.1:{server.port}/metrics"
    server.close()
    server.close()
    assert threading.active_count() == before
    with pytest.raises(urllib.error.URLError):
        get(server.url)


@pytest.mark.parametrize("words", [b"", b"GET /metrics HTTP/1.1\r\nHost:"])
def test_a_silent_client_is_disconnected(words):
    with MetricsServer(run_statistics, 0, patience_s=0.2) as server:
        with socket.create_connection((server.host, server.port), timeout=10) as client:
            client.sendall(words)
            assert client.recv(1) == b""
        assert get(server.url)[0] == 200


class Scraper(Sink):
    """A sink that scrapes the metrics of the run that it is part of."""

    def __init__(self):
        super().__init__("scraper")
        self.url, self.scraped = "", {}

    def write(self, result, image):
        if result.frame.index == 20:
            self.scraped = samples(get(self.url)[2])


def test_a_scrape_during_a_run_sees_it_move_and_adds_up():
    source = ArraySource([np.zeros((48, 64, 3), np.uint8)] * 40, name="clip")
    sink = Scraper()
    pipeline = Pipeline([Stream(source=source, sinks=[sink])], [Model(FakeEngine())])
    with MetricsServer(pipeline.statistics, 0) as server:
        sink.url = server.url
        pipeline.run()
        after = samples(get(server.url)[2])
    during = sink.scraped
    prefix = "edgevision_frames_"
    assert during[f"{prefix}written_total{{stream=clip}}"] == 20
    assert (
        21
        <= during[f"{prefix}inferred_total{{stream=clip}}"]
        <= during[f"{prefix}captured_total{{stream=clip}}"]
        <= 40
    )
    for found in (during, after):
        settled = sum(
            value
            for name, value in found.items()
            if name.startswith(
                (prefix + "inferred", prefix + "dropped", prefix + "failed", prefix + "waiting")
            )
        )
        assert settled == found[f"{prefix}captured_total{{stream=clip}}"]
    assert after[f"{prefix}written_total{{stream=clip}}"] == 40
    assert after["edgevision_latency_seconds_count{stream=clip}"] == 40
    assert during["edgevision_stream_up{stream=clip}"] == 1
    assert after["edgevision_stream_up{stream=clip}"] == 0


def served(**settings):
    return MetricsServer(lambda: run_statistics(stream_statistics("door")), 0, **settings)


def open_handles():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("first_bytes", [b"", b"GET /metrics HTTP/1.1\r\nX-"])
def test_held_connections_take_neither_the_handles_nor_the_answers(first_bytes):
    with served() as server, contextlib.ExitStack() as held:
        before = open_handles()
        for _ in range(200):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            connection.sendall(first_bytes)
        assert "edgevision_frames_written_total" in get(server.url)[2]
        assert eventually(lambda: open_handles() - before <= 200 + 40)
        assert sum("process_request_thread" in thread.name for thread in threading.enumerate()) <= 40
        assert "edgevision_frames_written_total" in get(server.url)[2]


def test_a_connection_that_sends_a_byte_now_and_then_ends():
    with (
        served(patience_s=1.0) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
    ):
        start = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 20:
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - start < 10


def test_resets_and_clients_that_leave_are_silent(capfd, caplog):
    linger = struct.pack("ii", 1, 0)  # close() sends RST
    with served() as server:
        for text in (b"", b"GET /met", b"GET /metrics HTTP/1.0\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
                connection.sendall(text)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert "edgevision_run_seconds" in get(server.url)[2]
    assert capfd.readouterr().err == ""
    assert caplog.records == []


def test_what_goes_wrong_here_is_one_line(capfd, caplog):
    def read():
        raise ArithmeticError("no figures")

    with MetricsServer(run_statistics, 0, watch=HealthWatch(read)) as server:
        with pytest.raises(OSError, match="without response"):
            get(f"http://127.0.0.1:{server.port}/healthz")
        assert eventually(lambda: len(caplog.records) > 0)
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (logging.WARNING, "a request to the metrics port failed: ArithmeticError: no figures")
    ]
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "clients"),
    [
        ("::1", ["[::1]"]),
        ("[::1]", ["[::1]"]),
        ("::", ["[::1]", "127.0.0.1"]),
        ("localhost", ["127.0.0.1"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_hosts_of_both_kinds(host, clients):
    with MetricsServer(lambda: run_statistics(stream_statistics("door")), 0, host) as server:
        for client in clients:
            assert "edgevision_run_seconds" in get(f"http://{client}:{server.port}/metrics")[2]
        if host in ("::1", "[::1]"):
            assert server.url == f"http://[::1]:{server.port}/metrics"
            assert "edgevision_run_seconds" in get(server.url)[2]


@pytest.mark.parametrize("host", ["[::1]:9100", "127.0.0.1:9100", "localhost:9100"])
def test_a_host_with_a_port_is_refused(host):
    with pytest.raises(
        UsageError, match=r"holds a port; expected an address, and the port in `metrics_port`"
    ):
        check_address(9100, host)
