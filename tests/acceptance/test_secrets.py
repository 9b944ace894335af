"""Nothing that the command line says, in success or failure, holds a part of an address's credentials."""

import http.server
import json
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgevision.cli import main
from tests.support.addresses import MARKERS, addresses, broker_addresses
from tests.support.models import write_colour_model
from tests.support.video import write_clip

SECRETS = ("annette", "s3cret", "t0ken")
NOBODY = "rtsp://annette:s3cret@127.0.0.1:1/live?token=t0ken"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_colour_model(tmp_path_factory.mktemp("model") / "colours.onnx"))


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Runs a command; its exit code and all that it said, which holds no secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)

    def run(*arguments):
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        said = "".join(capfd.readouterr())
        for written in [
            said.encode(),
            *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()),
        ]:
            assert not any(secret.encode() in written for secret in SECRETS), said
        return code, said

    return run


@pytest.mark.parametrize(
    "source",
    [
        NOBODY,
        f"{NOBODY}#timeout=1s",
        f"{NOBODY}#tiemout=1s",
        f"chaos://{NOBODY}?drop=0.1",
        f"chaos://{NOBODY}",
        NOBODY.replace("rtsp", "rstp"),
        NOBODY.replace("rtsp", "http"),
        f"gst://rtspsrc location={NOBODY} user-pw=s3cret ! nothing",
    ],
)
def test_sources_that_fail(call, model, source):
    code, said = call("run", "--source", source, "--model", model, "--save-json", "out.jsonl")
    assert code in (1, 2)
    (line,) = said.splitlines()
    assert line.startswith("error: ")


def test_several_sources_that_fail(call, model):
    code, said = call("run", "--source", NOBODY, "--source", f"{NOBODY}2", "--model", model, "--output", "o/")
    assert code == 1
    assert said.count("Connection refused") >= 2


class Stream:
    """An address on this machine that serves one clip, without a length: live."""

    def __init__(self, content):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.uri = f"http://annette:s3cret@127.0.0.1:{self.server.server_port}/live?token=t0ken"


@pytest.fixture
def stream(tmp_path_factory):
    clip = write_clip(tmp_path_factory.mktemp("clip") / "a.ts", [40 * number for number in range(20)])
    stream = Stream(clip.read_bytes())
    yield stream
    stream.server.shutdown()
    stream.server.server_close()


def test_a_stream_that_runs_and_breaks_off(call, model, stream):
    code, said = call(
        *("run", "--source", f"{stream.uri}#reconnect=2", "--model", model, "--max-frames", "15"),
        *("--output", "out.mp4", "--save-json", "out.jsonl", "--stats", "stats.json"),
    )
    assert code in (0, 1)
    assert f"http://127.0.0.1:{stream.server.server_port}/live?..." in said


def test_labels_need_files(call, model, stream):
    code, said = call("label", stream.uri, "--model", model, "--out", "labels.json")
    assert code == 2
    assert "is a live source; record it first" in said


COMMANDS = [
    ["run", "--source", "URI", "--model", "MODEL", "--save-json", "o.jsonl", "--stats", "s.json"],
    ["run", "--source=URI", "--model", "MODEL"],
    [
        "run",
        "--source",
        "URI",
        "--source",
        "URI",
        "--model",
        "MODEL",
        "--output",
        "o/",
        "--log-format",
        "json",
    ],
    ["run", "--streams", "streams.yaml", "--model", "MODEL", "--output", "o/"],
    ["run", "URI"],
    ["run", "--source", "demo", "--max-frames", "URI"],
    ["run", "--source", "none.mp4", "--model", "URI"],
    ["run", "--source", "none.mp4", "--model", "MODEL", "--output", "URI"],
    ["run", "--source", "none.mp4", "--model", "MODEL", "--save-json", "URI"],
    ["run", "--source", "none.mp4", "--model", "MODEL", "--record", "URI"],
    ["process", "URI", "--model", "MODEL", "--out", "o"],
    ["import", "URI", "--out", "imported.onnx"],
    ["eval", "MODEL", "--data", "URI"],
    ["run", "--source", "none.mp4", "--model", "MODEL", "--events", "URI"],
    ["label", "URI", "--model", "MODEL", "--out", "labels.json"],
    ["calibrate", "retinanet-light", "--from", "URI", "--out", "int8.onnx"],
    ["soak", "--source", "URI", "--model", "MODEL", "--minutes", "0.1", "--warm-up", "0"],
    ["parity", "MODEL", "MODEL", "--source", "URI"],
    ["URI"],
]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uri=st.one_of(addresses(), broker_addresses()), debug=st.booleans())
@example(uri="gst://rtspsrc user-id=Kx8u user-pw = ''Zq7w' ! fakesink", debug=True)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_a_piece_of_a_secret(command, uri, debug, model, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    streams = {"streams": [{"source": uri}, {"source": uri, "name": "second"}]}
    (tmp_path / "streams.yaml").write_text(json.dumps(streams))  # which is YAML
    arguments = [part.replace("URI", uri).replace("MODEL", model) for part in command]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *(["--debug"] if debug else [])])
    said = "".join(capfd.readouterr())
    assert said
    assert ended.value.code in (1, 2)
    assert not [piece for piece in MARKERS if piece in said], said
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "streams.yaml":
            assert not [piece for piece in MARKERS if piece.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "- source: rtsp://annette:s3cret: t0ken@127.0.0.1/x",
            "mapping values are not allowed here in line",
        ),
        ("- source: 'rtsp://annette:s3cret't0ken@127.0.0.1/x'", "is not valid YAML"),
        ("- rtsp://annette:s3cret@127.0.0.1/x", "`streams[0]` is text"),
        ("- rtsp://annette:s3cret@127.0.0.1/x: 1", "unknown key 'streams.0.rtsp://127.0.0.1/x'"),
        ("- {source: a.mp4, max_latency: 'rtsp://annette:s3cret@h/x'}", "rtsp://h/x: expected a number"),
        ("- {source: a.mp4, record: 'rtsp:/annette:s3cret@h/x'}", "...@h/x looks like an address"),
        ("- {source: a.mp4, save_masks: 'rtsp://annette:s3cret@h/x'}", "rtsp://h/x looks like an address"),
        ("- {source: a.mp4, events: ['mqtt:/annette:s3cret@h/x']}", "events cannot go to '...@h/x'"),
    ],
)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_files_of_streams_with_mistakes(call, model, tmp_path_factory, line, expected, debug):
    path = tmp_path_factory.mktemp("streams") / "streams.yaml"
    path.write_text(f"streams:\n  {line}\n")
    code, said = call("run", "--streams", path, "--model", model, *debug)
    assert code == 2
    assert expected in said
