"""Sound of recordings whose clocks, tracks and codecs are not as they should be."""

import functools
import http.server
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from edgevision.video import open_sink, open_source
from edgevision.video.sinks import audio
from edgevision.video.sinks.audio import open_audio
from tests.support.video import audio_seconds, flv_with_wrong_times, probe, record, write_clip

EVEN = [40 * number for number in range(50)]
HOUR = 3600


def copy(path, out):
    source = open_source(str(path))
    sink = open_sink(str(out), info=source.info)
    return record(source, sink), sink


def remuxed(path, out, change=lambda stream, packet, moment: moment, drop=lambda stream, moment: False):
    """A copy of a clip with other times: ``change`` takes and returns seconds."""
    with av.open(path) as source, av.open(out, "w") as target:
        streams = {
            stream.index: target.add_stream_from_template(stream, opaque=True) for stream in source.streams
        }
        for packet in source.demux():
            if packet.dts is None:
                continue
            kind, base = packet.stream.type, packet.time_base
            moment = packet.dts * base
            if drop(kind, moment):
                continue
            shift = round((change(kind, packet, moment) - moment) / base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    return out


def joined(path, tmp_path, offset_s):
    late = remuxed(path, tmp_path / "late.ts", lambda kind, packet, moment: moment + offset_s)
    whole = tmp_path / "joined.ts"
    whole.write_bytes(path.read_bytes() + late.read_bytes())
    return whole


def sound_times(path):
    with av.open(path) as container:
        return [packet.pts * packet.time_base for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("offset_s", [0, 20, 19 * HOUR])
@pytest.mark.parametrize("codec", ["aac", "mp2", "ac3", None])
def test_joined_transport_streams_keep_sound_and_images(tmp_path, codec, offset_s):
    part = write_clip(tmp_path / "part.ts", EVEN, audio=codec, audio_s=2.0)
    out = tmp_path / "out.mp4"
    frames, sink = copy(joined(part, tmp_path, offset_s), out)
    assert len(frames) == 100
    times, numbers = probe(out)
    assert numbers == list(range(50)) * 2
    assert times == pytest.approx([0.04 * number for number in range(100)], abs=0.002)
    if codec is not None:
        assert audio_seconds(out) == pytest.approx(4.0, abs=0.1)
        heard = np.asarray([float(moment) for moment in sound_times(out)])
        assert heard[-1] == pytest.approx(4.0, abs=0.1)
        assert np.diff(heard).max() < 0.1
    assert sink.notes == []


@pytest.mark.parametrize("wrong_s", [13 * HOUR, 100_000 * HOUR, -0.7])
def test_one_wrong_time_of_sound_costs_nothing(tmp_path, wrong_s):
    part = write_clip(tmp_path / "part.mkv", EVEN, audio="aac", audio_s=2.0)
    count = []

    def change(kind, packet, moment):
        count.append(kind)
        return moment + (Fraction(wrong_s) if kind == "audio" and count.count("audio") == 40 else 0)

    source = open_source(str(part))
    sink = open_sink(str(tmp_path / "out.mp4"), info=source.info)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(av, "open", _Changing(change, part))
        record(source, sink)
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(2.0, abs=0.1)
    assert np.diff([float(moment) for moment in sound_times(tmp_path / "out.mp4")]).max() < 0.1
    assert any("1 packet with a wrong time" in note for note in sink.notes)


class _Changing:
    """Opens files as PyAV does, but changes times of one that is read: no muxer would write them."""

    def __init__(self, change, path):
        self._change, self._path, self._open = change, path, av.open

    def __call__(self, file, mode="r", **options):
        container = self._open(file, mode, **options)
        return _Wrapped(container, self._change) if str(file) == f"file:{self._path}" else container


class _Wrapped:
    def __init__(self, container, change):
        self._container, self._change = container, change

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self, *streams):
        for packet in self._container.demux(*streams):
            if packet.pts is not None and packet.stream.type == "audio":
                moment = packet.pts * packet.time_base
                packet.pts = round(self._change("audio", packet, moment) / packet.time_base)
            yield packet


def test_a_pause_of_the_sound_is_kept(tmp_path):
    whole = write_clip(
        tmp_path / "whole.mkv", codec="mpeg4", times_ms=[40 * number for number in range(600)], audio="mp2"
    )
    part = remuxed(
        whole, tmp_path / "part.mkv", drop=lambda kind, moment: kind == "audio" and 3 < moment < 18
    )
    copy(part, tmp_path / "out.mp4")
    heard = [float(moment) for moment in sound_times(tmp_path / "out.mp4")]
    assert heard[-1] == pytest.approx(24, abs=0.1)
    assert np.diff(heard).max() == pytest.approx(15, abs=0.2)


def test_a_gap_of_hours_in_sound_and_images_is_bridged(tmp_path):
    whole = write_clip(tmp_path / "whole.mkv", codec="mpeg4", times_ms=EVEN, audio="aac", audio_s=2.0)
    part = remuxed(
        whole, tmp_path / "part.mkv", lambda kind, packet, moment: moment + (11 * HOUR if moment >= 1 else 0)
    )
    frames, _ = copy(part, tmp_path / "out.mp4")
    assert len(frames) == 50
    times, _ = probe(tmp_path / "out.mp4")
    assert times[-1] == pytest.approx(11 * HOUR + 1.96, abs=0.01)
    heard = [float(moment) for moment in sound_times(tmp_path / "out.mp4")]
    assert heard[-1] == pytest.approx(11 * HOUR + 1.96, abs=0.1)


@pytest.mark.parametrize("name", ["part.ts", "part.mkv"])
@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_a_declared_track_without_sound(tmp_path, codec, name):
    whole = write_clip(tmp_path / f"whole{name[4:]}", EVEN, codec="mpeg4", audio=codec, audio_s=2.0)
    silent = remuxed(whole, tmp_path / name, drop=lambda kind, moment: kind == "audio")
    frames, sink = copy(silent, tmp_path / "out.mp4")
    assert len(frames) == len(probe(tmp_path / "out.mp4")[0]) == 50
    assert sink.notes in ([], ["audio: omitted, the track contains no sound"])


@pytest.mark.parametrize("codec", ["aac", "ac3", "mp2"])
def test_sound_that_begins_after_a_while(tmp_path, codec):
    whole = write_clip(tmp_path / "whole.ts", [40 * number for number in range(400)], audio=codec)
    late = remuxed(whole, tmp_path / "late.ts", drop=lambda kind, moment: kind == "audio" and moment < 12)
    copy(late, tmp_path / "out.mp4")
    assert len(probe(tmp_path / "out.mp4")[0]) == 400
    heard = sound_times(tmp_path / "out.mp4")
    with av.open(late) as container:
        streams = [container.streams.video[0], container.streams.audio[0]]
        packets = [packet for packet in container.demux(streams) if packet.size]
        images, sound = (min(p.pts for p in packets if p.stream is stream) for stream in streams)
    assert float(heard[0]) == pytest.approx((sound - images) / 90_000, abs=0.1)
    assert float(heard[-1]) == pytest.approx(16, abs=0.2)


def test_mp3_that_mp4_cannot_hold_is_encoded_again(tmp_path):
    path = tmp_path / "in.mkv"
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tone = container.add_stream("libmp3lame", rate=8000, layout="mono")
        for number in range(25):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="bgr24")
            container.mux(video.encode(image))
            wave = (np.sin(np.arange(320) * 0.3) * 8000).astype(np.int16)[None]
            sound = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            sound.sample_rate, sound.pts = 8000, number * 320
            container.mux(tone.encode(sound))
        container.mux(video.encode(None))
        container.mux(tone.encode(None))
    _, sink = copy(path, tmp_path / "out.mp4")
    assert sink.notes == []
    with av.open(tmp_path / "out.mp4") as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(1.0, abs=0.2)


def test_sound_whose_channels_change(tmp_path):
    parts = []
    for layout in ("mono", "stereo"):
        path = tmp_path / f"{layout}.ts"
        with av.open(path, "w") as container:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            tone = container.add_stream("mp2", rate=48_000, layout=layout)
            for number in range(25):
                image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="bgr24")
                container.mux(video.encode(image))
            for number in range(41):
                wave = np.full((1, 1152 * (1 + (layout == "stereo"))), number * 100, np.int16)
                sound = av.AudioFrame.from_ndarray(wave, format="s16", layout=layout)
                sound.sample_rate, sound.pts = 48_000, number * 1152
                container.mux(tone.encode(sound))
            container.mux(video.encode(None))
            container.mux(tone.encode(None))
        parts.append(path.read_bytes())
    (tmp_path / "in.ts").write_bytes(b"".join(parts))
    copy(tmp_path / "in.ts", tmp_path / "out.mp4")
    assert len(probe(tmp_path / "out.mp4")[0]) == 50
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(2.0, abs=0.15)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_a_recording_on_a_web_server_keeps_its_sound(tmp_path):
    folder = tmp_path / "web"
    folder.mkdir()
    write_clip(folder / "clip.mp4", EVEN, audio="aac", audio_s=2.0)
    flv_with_wrong_times(folder / "wrong.flv", {25}, 19 * HOUR * 1000)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://user:hidden@127.0.0.1:{server.server_port}/clip.mp4"
            source = open_source(address)
            assert "hidden" not in repr(source.info)
            sink = open_sink(str(tmp_path / "out.mp4"), info=source.info)
            record(source, sink)
            with open_source(address.replace("clip.mp4", "wrong.flv")) as wrong:
                times = [round(frame.timestamp_ns / 1e6) for frame in wrong]
        finally:
            server.shutdown()
            thread.join()
    assert sink.notes == []
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(2.0, abs=0.05)
    assert len(probe(tmp_path / "out.mp4")[0]) == 50
    assert times == EVEN
    assert wrong.report.notes == ["1 frame with a wrong time: set between its neighbours"]


def behind_a_thumbnail(path, out):
    """A copy of a clip whose first stream is one image."""
    still = write_clip(out.with_name("still.mp4"), [0])
    with av.open(path) as source, av.open(still) as thumbnail, av.open(out, "w") as target:
        first = target.add_stream_from_template(thumbnail.streams.video[0])
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in thumbnail.demux():
            if packet.dts is not None:
                packet.stream = first
                target.mux(packet)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return out


def test_sound_ends_with_the_images_that_are_shown_and_not_with_a_thumbnail(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", EVEN, audio="aac", audio_s=2.0)
    path = behind_a_thumbnail(clip, tmp_path / "two.mp4")
    source = open_source(str(path))
    out = tmp_path / "out.mp4"
    frames = record(source, open_sink(str(out), info=source.info), limit=15)
    assert len(frames) == 15
    assert audio_seconds(out) == pytest.approx(0.6, abs=0.1)


def test_sound_in_a_stream_that_begins_later_is_noted(tmp_path):
    part = write_clip(tmp_path / "part.ts", EVEN, audio="aac", audio_s=2.0)
    other = write_clip(
        tmp_path / "other.ts", EVEN, audio="aac", audio_s=2.0, container_options={"mpegts_start_pid": "300"}
    )
    whole = tmp_path / "whole.ts"
    filler = (b"\x47\x1f\xff\x10" + bytes(184)) * 40_000
    # FFmpeg looks for streams at the start and, for the duration, at the end: no further than the filler.
    whole.write_bytes(filler.join([part.read_bytes(), other.read_bytes(), part.read_bytes()]))
    _, sink = copy(whole, tmp_path / "out.mp4")
    assert "audio: another stream begins in the file; sound in it is omitted" in sink.notes
    assert audio_seconds(tmp_path / "out.mp4") == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("error", [LookupError, RuntimeError, ValueError, OSError])
def test_what_a_library_raises_at_the_sound_leaves_the_images(tmp_path, monkeypatch, error):
    def fail(*arguments):
        raise error("unknown codec")

    clip = write_clip(tmp_path / "clip.mp4", EVEN, audio="aac", audio_s=2.0)
    monkeypatch.setattr(audio, "open_video_file", fail)
    frames, sink = copy(clip, tmp_path / "out.mp4")
    assert len(frames) == 50
    assert len(probe(tmp_path / "out.mp4")[1]) == 50
    assert sink.notes == ["audio: omitted, cannot be copied: unknown codec"]


def test_a_source_without_a_file_has_no_sound():
    with open_source("demo://?seconds=1") as source:
        assert open_audio(source.info, None) == (None, [])
