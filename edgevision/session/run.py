"""What ``edgevision run`` does once its options are read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from edgevision.cli.app import EXIT_DAMAGED
from edgevision.cli.console import Watched, say, show_log, show_progress, show_summary
from edgevision.cli.signals import signal_exit_code, stop_on_signals
from edgevision.errors import EdgeVisionError
from edgevision.files import write_json
from edgevision.pipeline import Pipeline, StopRequest, StreamStatistics, ThreadBudget
from edgevision.service.service import Service
from edgevision.session.models import RunModels, open_models
from edgevision.session.request import Request, check_outputs, check_request, plan_rounds
from edgevision.session.spec import StreamSpec, unique_names
from edgevision.session.streams import Manner, OpenedStream, open_sources, open_stream
from edgevision.tracking.tracker import RECOVER_THRESHOLD
from edgevision.video import Source, is_local
from edgevision.video.redact import redact
from edgevision.zoo import default_model, find_model


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one stream ended: with statistics, an error, or both."""

    name: str
    statistics: StreamStatistics | None
    error: Exception | None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code if isinstance(self.error, EdgeVisionError) else 1
        report = self.statistics
        if report is None:
            return 0
        damaged = report.problem is not None or (report.skipped > 0 and not report.is_live)
        return signal_exit_code(report.stopped or "") or (EXIT_DAMAGED if damaged else 0)


def run_request(request: Request) -> int:
    """Runs the models on every stream: the videos of one folder in turn, several sources at the same time.

    Everything that can be refused is refused before any output is made.

    Returns:
        The exit code: 0, 3 where the input was damaged, 130 or 143 where a signal ended the run, or that
        of the worst error where one of several streams failed.

    Raises:
        EdgeVisionError: the request is impossible, or its only stream failed.
    """
    console, stop = request.service.open_console(), StopRequest()
    check_request(request)
    rounds = plan_rounds(request)
    specs = [spec for turn in rounds for spec in turn]
    paths = [find_model(name) for name in request.models] or [default_model("detection").path]
    fallback = None if request.fallback_model is None else find_model(request.fallback_model)
    check_outputs(request, specs, [*paths, *filter(None, [fallback])])
    recorded = all(is_local(spec.source) for spec in specs)
    budget = ThreadBudget.of(request.threads, max(map(len, rounds)), for_throughput=recorded)
    budget.apply()
    is_tracked = any(spec.is_tracked for spec in specs)
    manner = Manner(
        conf_threshold=request.conf_threshold,
        alpha=request.alpha,
        max_frames=request.max_frames,
        overwrite=request.overwrite,
        several=len(specs) > 1,
        budget=budget,
    )
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as opened:
        models = open_models(
            paths,
            fallback,
            engine=request.engine,
            plans=request.plans,
            threads=request.threads and budget.engine,
            requests=budget.requests,
            conf_threshold=min(request.conf_threshold, RECOVER_THRESHOLD)
            if is_tracked
            else request.conf_threshold,
            classes=request.classes,
            opened=opened,
        )
        if any(spec.save_masks is not None for spec in specs):
            models.segmenters()
        opened.enter_context(show_log(console))
        for turn in rounds:
            outcomes += _run_together(
                turn, models, manner, stop, console, header=not outcomes, service=request.service
            )
            if stop.reason is not None or any(map(_was_closed, outcomes)):
                break
    _report(outcomes, request.stats, len(specs) > 1, console)
    # Signals before failures, failures before damaged input.
    codes = [outcome.exit_code for outcome in outcomes]
    return max(codes, key=lambda code: (code > 128, code in (1, 2), code))


def _run_together(
    specs: Sequence[StreamSpec],
    models: RunModels,
    manner: Manner,
    stop: StopRequest,
    console: Console,
    header: bool,
    service: Service,
) -> list[Outcome]:
    """Runs some streams at the same time; a bad one is told of, and raises only where it is the only one."""
    with contextlib.ExitStack() as stack:
        sources = open_sources(specs, manner.budget, stack)
        labels = unique_names(
            [
                spec.name
                or (redact(spec.source) if isinstance(source, EdgeVisionError) else source.info.name)
                for spec, source in zip(specs, sources, strict=True)
            ]
        )
        stack.enter_context(stop_on_signals(stop))
        opened: dict[str, OpenedStream] = {}
        outcomes: dict[str, Outcome] = {}
        for spec, source, label in zip(specs, sources, labels, strict=True):
            found = _attempt(spec, source, label, models, manner, stack)
            if isinstance(found, OpenedStream):
                opened[label] = found
            elif not manner.several:
                raise found
            else:
                outcomes[label] = Outcome(label, None, found)
                if len(specs) > 1:
                    say(console, f"warning: this stream does not run: {_named(label, found)}")
        if opened:
            outcomes |= _run_opened(opened, models, manner, stop, console, header, service)
    return [outcomes[label] for label in labels]


def _attempt(
    spec: StreamSpec,
    source: Source | EdgeVisionError,
    label: str,
    models: RunModels,
    manner: Manner,
    stack: contextlib.ExitStack,
) -> OpenedStream | EdgeVisionError:
    """A stream whose outputs ``stack`` closes, or why there is none; then nothing of it stays open."""
    if isinstance(source, EdgeVisionError):
        return source
    with contextlib.ExitStack() as own:
        try:
            stream = open_stream(spec, source, label, models, manner, own)
        except EdgeVisionError as error:
            return error
        stack.push(own.pop_all())
    return stream


def _run_opened(
    opened: dict[str, OpenedStream],
    models: RunModels,
    manner: Manner,
    stop: StopRequest,
    console: Console,
    header: bool,
    service: Service,
) -> dict[str, Outcome]:
    for line in models.describe() if header else []:
        say(console, line)
    pipeline = Pipeline([one.stream for one in opened.values()], models.detectors, fallback=models.fallback)
    watched = [Watched(one.stream.source.info, one.total, one.hint, name) for name, one in opened.items()]
    with show_progress(watched, console) as report_progress, service.watching(pipeline, console):
        run = pipeline.run(stop, report_progress)
    errors = pipeline.errors
    if not manner.several:
        for error in errors.values():
            raise error
    for statistics in run.streams:
        if statistics.name not in errors or statistics.written:
            show_summary(statistics, opened[statistics.name].outputs, console)
    return {
        statistics.name: Outcome(statistics.name, statistics, errors.get(statistics.name))
        for statistics in run.streams
    }


def _was_closed(outcome: Outcome) -> bool:
    return outcome.statistics is not None and outcome.statistics.stopped == "window"


def _report(outcomes: Sequence[Outcome], stats: Path | None, several: bool, console: Console) -> None:
    """Which streams failed, and the statistics of the others as JSON."""
    for outcome in outcomes:
        if outcome.error is not None:
            line = _named(outcome.name, outcome.error)
            say(console, f"error: {line} (exit status {outcome.exit_code})")
    if stats is not None:
        reports = [outcome.statistics for outcome in outcomes if outcome.statistics is not None]
        write_json(stats, reports if several else reports[0])


def _named(name: str, error: Exception) -> str:
    """An error with its stream's name, which many messages hold already."""
    text = str(error)
    return text if name in text else f"{name}: {text}"
