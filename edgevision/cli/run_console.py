"""Progress while a run lasts, and its summary. All of it goes to stderr."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from rich.console import Console

from edgevision.cli.app import Commands, error_text
from edgevision.cli.console import LogConsole, clock, plural, say
from edgevision.cli.signals import stop_on_signals
from edgevision.errors import EdgeVisionError
from edgevision.pipeline import RunStatistics, StopRequest, StreamState, StreamStatistics
from edgevision.pipeline.ledger import DropReason
from edgevision.pipeline.statistics import Outage
from edgevision.session.reload import ReloadRequest
from edgevision.session.run import SessionObserver, StreamOutcome
from edgevision.session.streams import OpenedStream

Report = Callable[[RunStatistics], None]
_PLAIN_EVERY_S, _PLAIN_LONGEST_S = 10.0, 600.0
_NAME = 24  # columns
_SETTLED = 10  # frames
_DROPS = {
    DropReason.NEWER_FRAME.value: "replaced by a newer frame",
    DropReason.LATENCY.value: "skipped to hold the latency bound",
    DropReason.SHUTDOWN.value: "read ahead, not processed",
}


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """A stream that people watch.

    Attributes:
        name: of the stream.
        is_live: whether rate and latency are worth a line.
        total: frames to expect, or None where nobody knows.
        hint: a remark at the end of the line.
    """

    name: str
    is_live: bool
    total: int | None
    hint: str = ""


@contextmanager
def show_progress(watched: Sequence[ProgressLine], console: Console) -> Iterator[Report]:
    """A line for each stream: a bar with the time left for a file, rate and latency for a live source.

    Args:
        watched: the streams, in the order of the statistics.
        console: where to; a plain line now and then where it is not a terminal.
    """
    if not console.is_terminal:
        yield _plain_lines(watched, console)
        return
    known_lines = {one.name: one for one in watched}
    from edgevision.cli.stream_bar import open_bars  # for terminals alone, where it costs a moment

    with open_bars(console) as bar:
        tasks = {
            one.name: bar.add_task(_short(one.name), total=one.total, parts=_parts(None, one))
            for one in watched
        }

        def report(run: RunStatistics) -> None:
            for stream in run.streams:
                one = known_lines.get(stream.name) or ProgressLine(stream.name, stream.is_live, None)
                if stream.name not in tasks:  # it was added meanwhile
                    tasks[stream.name] = bar.add_task(_short(stream.name), total=None, parts=())
                bar.update(tasks[stream.name], completed=stream.written, parts=_parts(stream, one))

        yield report


def _short(name: str) -> str:
    """A name that leaves room for what is said of the stream: of a path its end."""
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _plain_lines(watched: Sequence[ProgressLine], console: Console) -> Report:
    """For logs: a line at the start and every ten seconds of a live source, silence for a file.

    Of a source that is away they become rarer, down to one in ten minutes.
    """
    due_s: dict[str, float] = {}
    away: set[str] = set()
    known_lines = {one.name: one for one in watched}

    def report(run: RunStatistics) -> None:
        nonlocal away
        now = time.monotonic()
        for stream in run.streams:
            one = known_lines.get(stream.name) or ProgressLine(stream.name, stream.is_live, None)
            if (stream.name in away) != (stream.lost is not None):  # which is worth a line at once
                away ^= {stream.name}
                due_s.pop(stream.name, None)
            if one.is_live and _is_under_way(stream) and now >= due_s.get(stream.name, 0.0):
                parts, wait_s = _parts(stream, one), _PLAIN_EVERY_S
                if stream.lost is None:
                    parts.insert(0, f"{stream.written} {plural('frame', stream.written)}")
                else:
                    wait_s = min(max(_PLAIN_EVERY_S, stream.lost.seconds), _PLAIN_LONGEST_S)
                due_s[stream.name] = now + wait_s
                say(console, f"{one.name}: {'  '.join(parts)}".rstrip(), **_fields(stream))

    return report


def _is_under_way(stream: StreamStatistics) -> bool:
    is_over = stream.state in (StreamState.ENDED, StreamState.FAILED)
    return not is_over and (stream.written > 0 or stream.lost is not None)


def _parts(stream: StreamStatistics | None, watched: ProgressLine) -> list[str]:
    """What is said of a stream, the most important first."""
    if stream is not None and stream.lost is not None:
        return [f"away for {clock(stream.lost.seconds)}", *_attempts(stream.lost)]
    if stream is None or (stream.written == 0 and stream.state is StreamState.RUNNING):
        return ["waiting for the first frame", watched.hint]
    # The first frames come out together, after the first has waited for everything to warm up.
    is_settled = stream.written >= _SETTLED
    rate = stream.recent_frames_per_second if is_settled else stream.frames_per_second
    parts = [f"{rate:.1f} fps"]
    if watched.is_live:
        parts.append(f"{stream.last_latency_ms:.0f} ms")
    if stream.state is not StreamState.RUNNING:
        parts.append(stream.state.value)
    parts += [_by_class(stream.in_view)] if stream.in_view else []
    parts += [f"recording {one.output}" for one in stream.deliveries if one.kind == "recording"]
    parts += [f"alarm: {one.output}: {one.alarm}" for one in stream.deliveries if one.alarm is not None]
    if stream.latency_control is not None and stream.latency_control.on_fallback:
        parts.append("fallback model")
    dropped = sum(stream.frames.dropped.values())
    if watched.is_live and dropped:
        parts.append(f"{dropped} dropped")
    return [*parts, watched.hint]


def _attempts(lost: Outage) -> list[str]:
    attempts = [f"{lost.attempts} {plural('attempt', lost.attempts)} failed"] if lost.attempts else []
    return [*attempts, lost.reason]


@contextmanager
def show_log(console: Console) -> Iterator[None]:
    """While it lasts, what the program logs, such as a camera that reconnects, goes to ``console``."""
    handler = _ConsoleHandler(console)
    logger = logging.getLogger("edgevision")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        say(self._console, f"{kind}: {record.getMessage()}")


class ConsoleObserver(SessionObserver):
    """Shows people how a session goes, and lets them end it with a signal.

    Args:
        console: where to.
        stop: what a signal sets while streams are open.
        reload: what SIGHUP asks for, where the streams come from a file.
    """

    def __init__(self, console: Console, stop: StopRequest, reload: ReloadRequest | None = None) -> None:
        self._console, self._stop, self._reload = console, stop, reload

    def note(self, text: str) -> None:
        say(self._console, text)

    def stream_refused(self, name: str, error: EdgeVisionError) -> None:
        say(self._console, f"warning: this stream does not run: {with_name(name, error)}")

    def while_open(self) -> AbstractContextManager[None]:
        return stop_on_signals(self._stop, self._reload)

    def while_running(self, streams: Sequence[OpenedStream]) -> AbstractContextManager[Report]:
        Commands.has_times = isinstance(self._console, LogConsole) and not self._console.is_terminal
        return show_progress([_progress_line(stream) for stream in streams], self._console)

    def stream_ended(self, outcome: StreamOutcome) -> None:
        statistics = outcome.statistics
        if statistics is not None and (outcome.error is None or statistics.written):
            show_summary(statistics, outcome.outputs, self._console)


class BriefObserver(ConsoleObserver):
    """Says of each stream only what was written, and what went wrong."""

    def note(self, text: str) -> None:
        """Nothing."""

    def while_running(self, streams: Sequence[OpenedStream]) -> AbstractContextManager[Report]:
        return contextlib.nullcontext(lambda run: None)

    def stream_ended(self, outcome: StreamOutcome) -> None:
        if outcome.statistics is not None and outcome.statistics.written:
            say(self._console, f"{outcome.name}: written: {', '.join(outcome.outputs)}")


def _progress_line(opened: OpenedStream) -> ProgressLine:
    hint = ""
    if opened.has_window:
        hint = "(q in the window or Ctrl-C ends)"
    elif opened.no_window:
        hint = f"({opened.no_window}; --output out.mp4 records; Ctrl-C ends)"
    info = opened.stream.source.info
    return ProgressLine(opened.stream.name or info.name, info.is_live, opened.total, hint)


def with_name(name: str, error: Exception) -> str:
    """An error with its stream's name, unless the message contains it already."""
    text = error_text(error)
    return text if name in text else f"{name}: {text}"


def show_summary(stream: StreamStatistics, outputs: Sequence[str], console: Console) -> None:
    """Frames, detections, time by stage, latency, outputs and problems of one stream."""
    say(
        console,
        f"{stream.name}: {stream.written} {plural('frame', stream.written)} in {stream.seconds:.1f} s "
        f"({stream.frames_per_second:.1f} fps)",
        stream=stream.name,
        statistics=stream,
    )
    if stream.class_shares:
        shares = (f"{name} {share:.1%}" for name, share in stream.class_shares.items())
        say(console, f"  area: {', '.join(shares)}")
    if stream.objects is not None:
        say(console, f"  objects: {_by_class(stream.objects)}")
    for name, zone in stream.zones.items():
        stay = f"; stay {zone.mean_dwell_s:.1f} s on average, {zone.longest_dwell_s:.1f} s at most"
        say(
            console,
            f"  zone {name}: entered {_by_class(zone.entries)}; left {_by_class(zone.exits)}; "
            f"inside {_by_class(zone.inside)}{stay if zone.entries else ''}",
        )
    for name, line in stream.lines.items():
        say(console, f"  line {name}: in {_by_class(line.inward)}; out {_by_class(line.outward)}")
    if stream.detections or not stream.class_shares:
        say(console, f"  detections: {_by_class(stream.detections)}")
    times = ", ".join(f"{stage} {figures.mean_ms:.1f}" for stage, figures in stream.stages.items())
    if times:
        say(console, f"  ms per frame by stage (stages overlap): {times}")
    if stream.is_live and stream.written:
        latency = stream.latency
        say(
            console,
            f"  latency in ms: p50 {latency.p50_ms:.0f}, p95 {latency.p95_ms:.0f}, p99 {latency.p99_ms:.0f}",
        )
    for reason, count in stream.frames.dropped.items():
        say(console, f"  {_DROPS.get(reason, reason)}: {count} of the {stream.frames.captured} frames read")
    _show_control(stream, console)
    if stream.reconnects or stream.failed_attempts:
        say(console, f"  reconnects: {stream.reconnects} ({stream.failed_attempts} attempts failed)")
    if outputs and stream.written:
        say(console, f"  written: {', '.join(outputs)}")
    if stream.stopped in ("SIGINT", "SIGTERM", "SIGHUP"):
        say(console, f"  ended early by {stream.stopped}; the outputs are complete up to there")
    for note in stream.notes:
        say(console, f"note: {note}")
    if stream.problem:
        say(console, f"warning: {stream.problem}")
    if stream.skipped:
        damaged = plural("undecodable frame", stream.skipped)
        say(console, f"warning: {stream.name}: skipped {stream.skipped} {damaged}")


def _by_class(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _show_control(stream: StreamStatistics, console: Console) -> None:
    control = stream.latency_control
    if control is None:
        return
    bound, frames = f"{control.bound_ms:g} ms", f"{control.exceeded} of {stream.written} frames"
    missed = 2 * control.exceeded > stream.written
    text = f"could not hold {bound}: {frames} took longer" if missed else f"held {bound} except for {frames}"
    if control.switches:
        text += f"; the fallback model processed {control.fallback_frames}"
    say(console, f"  {text}")


def _fields(stream: StreamStatistics) -> dict[str, object]:
    """The figures of a status line, for a log of JSON."""
    return {
        "stream": stream.name,
        "state": stream.state,
        "frames_per_second": round(stream.recent_frames_per_second, 2),
        "latency_ms": round(stream.last_latency_ms, 1),
        "frames": stream.frames,
        "in_view": stream.in_view,
        **({} if stream.objects is None else {"objects": stream.objects}),
        **({} if stream.lost is None else {"lost": stream.lost}),
    }
