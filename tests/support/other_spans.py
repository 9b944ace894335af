"""More kinds of recordings for tests of splitting: other encoders, and what happens to files afterwards."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.support.spans import moments, with_square

KINDS = (
    (".mkv", "mpeg4"), (".mov", "mpeg4"), (".avi", "mpeg4"), (".ts", "mpeg4"), (".mp4", "mpeg4"),
    (".ts", "mpeg2video"), (".mpg", "mpeg2video"), (".mkv", "mpeg2video"), (".mp4", "mpeg2video"),
    (".avi", "mpeg2video"), (".mpg", "mpeg1video"), (".webm", "libvpx"), (".mkv", "libvpx"),
    (".webm", "libvpx-vp9"), (".mkv", "libvpx-vp9"), (".mp4", "libvpx-vp9"), (".mp4", "libsvtav1"),
    (".mkv", "libsvtav1"), (".webm", "libsvtav1"), (".mkv", "libx265"), (".ts", "libx265"),
    (".mov", "libx265"), (".mp4", "libx265"), (".avi", "mjpeg"), (".mov", "mjpeg"), (".mkv", "mjpeg"),
    (".mp4", "libx264"),
    (".mov", "libx264"), (".mkv", "libx264"), (".ts", "libx264"), (".flv", "libx264"), (".avi", "libx264"),
    (".flv", "flv"), (".avi", "msmpeg4"), (".wmv", "wmv1"), (".mkv", "ffv1"), (".mov", "prores_ks"),
    (".3gp", "h263"), (".mkv", "snow"), (".avi", "huffyuv"),
)  # fmt: skip

_MILLISECONDS = (".mkv", ".webm", ".mp4", ".mov")  # their frames may lie at any time
HEALTHY = ("plain", "sound", "late")
"""Variants with which nothing is wrong."""

_REMUXED = ("edit", "negative", "gap", "lost", "false keys")
_WRAP_S = 2**33 / 90_000  # when the clock of a transport stream begins anew


@dataclass(frozen=True, slots=True)
class OtherRecipe:
    """How a clip is made; all of it drawn from one seed.

    Attributes:
        variant: what is done to the packets or the bytes once they are encoded:

            - ``edit``: times begin before 0, which an edit list hides; ``negative``: likewise without one.
            - ``gap``: the clock jumps forward; ``lost``: packets are missing.
            - ``false keys``: packets are marked as key frames that are none.
            - ``late``: the clock begins late, and in a transport stream ends and begins anew.
            - ``joined``: two recordings of different sizes behind each other, whose clock goes on or not.
            - ``sound``: sound lies between the images.
        seed: of the content and of the variant's numbers.
    """

    suffix: str
    codec: str
    gop: int
    b_frames: int
    form: int
    is_varying: bool
    frames: int
    variant: str
    seed: int

    @classmethod
    def draw(cls, seed: int) -> OtherRecipe:
        draw = random.Random(seed)
        suffix, codec = draw.choice(KINDS)
        has_b = codec in ("mpeg4", "mpeg2video", "mpeg1video", "libx264", "libx265") and suffix != ".avi"
        variants = ["plain", "plain", *_REMUXED]
        if suffix in (".ts", ".mpg"):
            variants = ["plain", "late", "late", "joined", "joined", "sound", "lost", "gap"]
        elif codec == "libsvtav1":
            variants = ["plain", "sound", "late"] if suffix != ".webm" else ["plain"]
        elif suffix in (".mkv", ".mp4", ".mov"):
            variants += ["sound", "late"]
        return cls(
            suffix=suffix,
            codec=codec,
            gop=draw.randint(1, 40),
            b_frames=draw.choice((0, 0, 1, 2, 4)) if has_b else 0,
            form=draw.randrange(6),
            is_varying=draw.random() < 0.3 and suffix in _MILLISECONDS,
            frames=draw.randint(50, 120),
            variant=draw.choice(variants),
            seed=seed,
        )

    def write(self, path: Path) -> Path:
        """Writes the clip: a pattern that drifts, and a square that moves over it."""
        draw = random.Random(self.seed + 1)
        if self.variant == "joined":
            other = replace(self, form=draw.randrange(6), seed=self.seed + 2)
            first, second = path.with_name(f"1{path.name}"), path.with_name(f"2{path.name}")
            size = draw.choice(((0, 0), (32, 32)))
            self._encode(first, 1.4)
            goes_on_s = 1.4 + self.frames / 25 if draw.random() < 0.6 else draw.choice((0.2, 1.4, 500.0))
            other._encode(second, goes_on_s, size)
            path.write_bytes(first.read_bytes() + second.read_bytes())
        elif self.variant in _REMUXED:
            encoded = self._encode(path.with_name(f"1{path.name}"))
            self._remux(encoded, path, draw)
        elif self.variant == "late":
            late_s = draw.choice((3.0, 5000.0, _WRAP_S - 1.5)) if self.suffix in (".ts", ".mpg") else 3.0
            self._encode(path, late_s)
        else:
            self._encode(path)
        return path

    def _encode(self, path: Path, start_s: float = 0.0, larger: tuple[int, int] = (0, 0)) -> Path:
        draw, generator = random.Random(self.seed + 3), np.random.default_rng(self.seed)
        width, height = (128, 96) if self.codec == "h263" else (64 + larger[0], 64 + larger[1])
        settings = {"output_ts_offset": str(start_s)} if start_s else {}
        if self.suffix == ".mpg":
            settings["muxrate"] = "8000000"
        with av.open(path, "w", format=_FORMATS.get(self.suffix), container_options=settings) as container:
            stream = container.add_stream(self.codec, rate=25, options=self._options())
            context = stream.codec_context
            stream.width, stream.height, stream.pix_fmt = width, height, _PIXELS.get(self.codec, "yuv420p")
            unit = (
                1000
                if self.suffix in (".mkv", ".webm", ".mp4", ".mov") and self.codec != "mpeg2video"
                else 25
            )
            context.time_base, context.gop_size = Fraction(1, unit), self.gop
            context.max_b_frames, context.thread_count = self.b_frames, 1
            sound = None
            if self.variant == "sound":
                sound = container.add_stream("mp2" if self.suffix in (".ts", ".mpg") else "aac", rate=48_000)
            pattern = generator.integers(0, 256, (height, width, 3), np.uint8)
            drifting = (np.roll(pattern, number // 2, axis=1) for number in range(self.frames))
            times = moments(unit // 25, draw if self.is_varying else None)
            for number, frame in enumerate(with_square(drifting, stream, times)):
                container.mux(stream.encode(frame))
                if sound is not None:
                    tone = av.AudioFrame.from_ndarray(
                        generator.normal(0, 0.1, (1, 1920)).astype(np.float32), format="fltp", layout="mono"
                    )
                    tone.sample_rate, tone.pts = 48_000, number * 1920
                    container.mux(sound.encode(tone))
            container.mux(stream.encode(None))
            if sound is not None:
                container.mux(sound.encode(None))
        return path

    def _remux(self, source: Path, path: Path, draw: random.Random) -> None:
        settings = {}
        if self.variant in ("edit", "negative"):
            settings["avoid_negative_ts"] = "disabled"
        if self.variant == "negative" and self.suffix in (".mp4", ".mov"):
            settings["use_editlist"] = "0"
        shift, jump_at = draw.randint(1, 30), draw.randint(10, self.frames - 10)
        with (
            av.open(source) as found,
            av.open(path, "w", format=_FORMATS.get(self.suffix), container_options=settings) as container,
        ):
            packets = found.demux(video=0)
            stream = container.add_stream_from_template(found.streams.video[0])
            step = int(1 / 25 / (found.streams.video[0].time_base or Fraction(1, 25)))
            for number, packet in enumerate(packets):
                if packet.dts is None or packet.pts is None:
                    continue
                if self.variant == "lost" and number and draw.random() < 0.05:
                    continue
                moved = 0
                if self.variant in ("edit", "negative"):
                    moved = -shift * step
                elif self.variant == "gap" and number >= jump_at:
                    moved = 25 * step * 20
                if self.variant == "false keys" and draw.random() < 0.2:
                    packet.is_keyframe = True
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                packet.stream = stream
                container.mux(packet)

    def _options(self) -> dict[str, str]:
        gop, form = str(self.gop), self.form
        if self.codec == "libx264":
            extra = (
                "open-gop=1",
                "intra-refresh=1",
                "ref=6:b-pyramid=normal",
                "slices=3",
                "tff=1",
                "nal-hrd=vbr:vbv-maxrate=400:vbv-bufsize=400",
            )[form]
            return {"preset": "veryfast", "x264-params": f"{extra}:keyint={gop}:bframes={self.b_frames}"}
        if self.codec == "libx265":
            extra = (
                "open-gop=1",
                "intra-refresh=1",
                "ref=5:b-pyramid=1",
                "slices=2",
                "radl=2:open-gop=0",
                "open-gop=0",
            )[form]
            return {
                "preset": "ultrafast",
                "x265-params": f"{extra}:keyint={gop}:bframes={self.b_frames}:log-level=none:pools=1",
            }
        if self.codec == "libsvtav1":
            return {
                "preset": "12", "g": gop, "crf": "45",
                "svtav1-params": f"lp=1:pred-struct={1 + form % 2}:irefresh-type={1 + form // 3}",
            }  # fmt: skip
        if self.codec in ("libvpx", "libvpx-vp9"):
            is_hidden = form % 2  # frames that are never shown, and are packets of their own in VP8
            return {
                "deadline": "good", "cpu-used": "5", "g": gop, "auto-alt-ref": str(is_hidden),
                "lag-in-frames": str(12 * is_hidden), "error-resilient": str(int(form == 4)),
            }  # fmt: skip
        if self.codec in ("mpeg2video", "mpeg1video"):
            flags = ("+cgop", "", "+ilme+ildct", "+ilme", "", "+cgop+ilme")[form]
            scenes = {"sc_threshold": "1000000000"}  # else groups cannot be closed
            return {"b": "600k"} | (
                {"flags": flags, **scenes} if flags and self.codec == "mpeg2video" else {}
            )
        if self.codec == "mpeg4":
            flags = ("", "+qpel", "+aic", "+mv4", "+global_header", "+ilme")[form]
            return {"b": "500k"} | ({"flags": flags} if flags else {})
        return {"strict": "-2"} if self.codec in ("snow", "huffyuv") else {"b": "500k"}


_FORMATS = {".mpg": "vob", ".ts": "mpegts", ".mkv": "matroska", ".wmv": "asf"}
_PIXELS = {
    "mjpeg": "yuvj420p", "prores_ks": "yuv422p10le", "huffyuv": "yuv422p", "snow": "yuv420p",
}  # fmt: skip
