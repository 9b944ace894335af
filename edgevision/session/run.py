"""A session: what ``edgevision run`` does, for whoever calls it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgevision.address import display, redact
from edgevision.errors import EdgeVisionError, SinkError, UsageError
from edgevision.files import set_aside, write_json
from edgevision.pipeline import (
    OnStatistics,
    Pipeline,
    RunStatistics,
    StopRequest,
    StreamStatistics,
    ThreadBudget,
)
from edgevision.session.control import SessionControl, files_of
from edgevision.session.models import ModelPool, OpenEngine, load_as_it_is
from edgevision.session.reload import Contents, Reloader, ReloadRequest, contents
from edgevision.session.request import RunRequest
from edgevision.session.running import RunningStreams
from edgevision.session.shared import OnFrame, Shared
from edgevision.session.spec import StreamSpec, unique_names
from edgevision.session.streams import OpenedStream, open_sources, open_stream
from edgevision.types import FrameResult
from edgevision.video import Source, SourceInfo, is_local
from edgevision.video.sources.options import SourceOptions

if TYPE_CHECKING:  # loaded only for a page
    from edgevision.web.hub import Hub

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """How one stream ended: with statistics, an error, or both.

    Attributes:
        name: of the stream, unique among those that ran together.
        statistics: None where it never ran.
        error: what ended it; None where it ended in good order.
        outputs: what was written, and where, for people.
        source: its address, without credentials.
    """

    name: str
    statistics: StreamStatistics | None = None
    error: Exception | None = None
    outputs: tuple[str, ...] = ()
    source: str = ""

    def report(self) -> StreamStatistics:
        """Its statistics; of a stream that never ran, those that say so."""
        if self.statistics is not None:
            return self.statistics
        return StreamStatistics.of_refused(self.name, self.source or self.name, str(self.error))


class SessionObserver:
    """Follows a session, on the thread that runs it; what is not overridden does nothing."""

    def note(self, text: str) -> None:
        """One line on what runs where."""

    def stream_refused(self, name: str, error: EdgeVisionError) -> None:
        """One of several streams cannot run; the others do."""

    def while_open(self) -> AbstractContextManager[None]:
        """Entered once the sources are open, and left after the outputs are finished."""
        return contextlib.nullcontext()

    def while_running(self, streams: Sequence[OpenedStream]) -> AbstractContextManager[OnStatistics | None]:
        """Entered before frames flow; what it gives is called with the statistics, five times a second."""
        return contextlib.nullcontext()

    def stream_ended(self, outcome: StreamOutcome) -> None:
        """A stream is over and its outputs are finished."""


class Session:
    """Runs models on streams: the videos of one folder in turn, several sources at the same time.

    It takes no signals, prints nothing and leaves the process's settings as they were.

    Args:
        request: what to do.
        open_engine: opens a model file; by default a plan that does not fit is refused.
        observer: follows it.
        stop: set its reason, from anywhere, to end early.
        reload: raise it, from anywhere, to take the file of streams in force again (``request.reload_from``).
        on_frame: called with the result of each frame after the outputs took it, on a thread of its stream,
            never two at a time. Where it raises, its stream ends with that error; ``SystemExit`` and
            ``KeyboardInterrupt`` end the session, and are raised by :meth:`run`.
        raises: the error of an only stream is raised; False puts it into its outcome, as of several.
    """

    def __init__(
        self,
        request: RunRequest,
        *,
        open_engine: OpenEngine = load_as_it_is,
        observer: SessionObserver | None = None,
        stop: StopRequest | None = None,
        reload: ReloadRequest | None = None,
        on_frame: Callable[[FrameResult], object] | None = None,
        raises: bool = True,
    ) -> None:
        self._request = request
        self._open_engine = open_engine
        self._observer = observer or SessionObserver()
        self._stop = stop or StopRequest()
        self._reload = reload or ReloadRequest()
        self._on_frame = None if on_frame is None else OnFrame(on_frame, self._stop)
        self._raises = raises
        self._described: set[str] = set()

    def run(self) -> list[StreamOutcome]:
        """Runs to the end of every stream; what can be refused is refused before any output is made.

        Raises:
            EdgeVisionError: the request is impossible, or its only stream failed.
        """
        request = self._request
        groups = request.groups()
        specs = [spec for group in groups for spec in group]
        is_recorded = all(is_local(spec.source) for spec in specs)
        budget = ThreadBudget.of(request.threads, max(map(len, groups)), for_throughput=is_recorded)
        with contextlib.ExitStack() as opened:
            opened.enter_context(budget.applied())
            models = opened.enter_context(
                ModelPool(
                    request,
                    self._open_engine,
                    threads=request.threads and budget.engine,
                    requests=budget.requests,
                )
            )
            request.check_outputs(specs, models.files(specs))
            for spec in specs:
                found = models.of(spec)
                if spec.save_masks is not None:
                    found.segmenters()
            shared = Shared(
                request=request,
                models=models,
                budget=budget,
                several=len(specs) > 1,
                on_frame=self._on_frame,
                hub=self._open_page(opened),
            )
            outcomes = self._run_groups(groups, shared)
        error = next((one.error for one in outcomes if one.error is not None), None)
        only_error = error if self._raises and not shared.several else None
        never_ran = only_error is not None and outcomes[0].statistics is None  # as if it was refused before
        if request.stats is not None and not never_ran:
            try:
                self._write_statistics(request.stats, outcomes, shared)
            except EdgeVisionError as second:
                if only_error is None:
                    raise
                _LOG.warning("%s", second)
        if only_error is not None:
            raise only_error
        return outcomes

    def _open_page(self, opened: contextlib.ExitStack) -> Hub | None:
        """Begins to serve the page that was asked for; ``opened`` ends it."""
        settings = self._request.web
        if settings is None:
            return None
        from edgevision.web.event_store import EventStore
        from edgevision.web.hub import Hub
        from edgevision.web.routes import (
            page_routes,  # needs the extra `web`, which the settings have checked
        )
        from edgevision.web.server import WebServer

        store = opened.enter_context(EventStore(settings.folder, settings.keep_days, settings.keep_bytes))
        hub = Hub(store, settings.folder / "zones")
        server = opened.enter_context(WebServer(hub, settings, page_routes(hub)))
        self._observer.note(f"page: {server.url}")
        return hub

    def _write_statistics(self, path: Path, outcomes: Sequence[StreamOutcome], shared: Shared) -> None:
        reports = [outcome.report() for outcome in outcomes]
        if self._request.append:
            set_aside(path)
        write_json(path, reports if shared.several else reports[0])

    def _run_groups(self, groups: Sequence[Sequence[StreamSpec]], shared: Shared) -> list[StreamOutcome]:
        outcomes: list[StreamOutcome] = []
        for group in groups:
            outcomes += self._run_group(group, shared)
            if self._stop.reason is not None or any(map(_was_closed, outcomes)):
                break
        return outcomes

    def _run_group(self, specs: Sequence[StreamSpec], shared: Shared) -> list[StreamOutcome]:
        """Runs some streams at the same time; one that cannot run is an outcome where there are several."""
        awake = [one for one in specs if not one.paused]
        if not awake and not self._request.is_kept_open:
            raise UsageError("every stream is paused (`paused`); take that out, or resume them in the page")
        before = self._contents(shared.models)
        with contextlib.ExitStack() as stack:
            is_once = self._request.snapshots is not None  # a camera that is not there is told at once
            options = SourceOptions(wait=self._request.is_kept_open, max_attempts=0 if is_once else None)
            opening = iter(open_sources(awake, shared.budget, stack, options))
            sources = [None if one.paused else next(opening) for one in specs]
            names = unique_names([_name(*pair) for pair in zip(specs, sources, strict=True)])
            stack.enter_context(self._observer.while_open())
            opened: dict[str, OpenedStream] = {}
            outputs: dict[str, contextlib.ExitStack] = {}
            outcomes: dict[str, StreamOutcome] = {}
            for spec, source, name in zip(specs, sources, names, strict=True):
                if source is None:
                    _show_source(name, spec, shared)
                    self._observer.note(f"{name} is paused, and not read until the page resumes it")
                    continue
                own = stack.enter_context(contextlib.ExitStack())
                found = _attempt(spec, source, name, shared, own)
                if isinstance(found, OpenedStream):
                    opened[name], outputs[name] = found, own
                else:
                    outcomes[name] = StreamOutcome(name, error=found, source=display(spec.source))
                    _show_source(name, spec, shared)
                    if len(specs) > 1:
                        self._observer.stream_refused(name, found)
            if opened or self._request.is_kept_open:
                refused = {one.name: one.report() for one in outcomes.values()}
                outcomes |= self._run_opened(
                    opened, outputs, refused, shared, dict(zip(names, specs, strict=True)), before
                )
        known = [name for name in names if name in outcomes]
        return [outcomes[name] for name in dict.fromkeys([*known, *outcomes])]

    def _contents(self, models: ModelPool) -> Contents:
        """Of the files that are watched, before they are read for the streams.

        The file of streams was read earlier; nothing where it was saved since.
        """
        request = self._request
        if request.reload_from is None:
            return ()
        found = contents(files_of(request.reload_from, request.streams, models))
        return found if request.is_of_file() else ()

    def _run_opened(
        self,
        opened: dict[str, OpenedStream],
        outputs: dict[str, contextlib.ExitStack],
        refused: dict[str, StreamStatistics],
        shared: Shared,
        specs: dict[str, StreamSpec],
        before: Contents,
    ) -> dict[str, StreamOutcome]:
        observer = self._observer
        for line in dict.fromkeys(
            line for spec in specs.values() for line in shared.models.of(spec).describe()
        ):
            if line not in self._described:
                self._described.add(line)
                observer.note(line)
        pipeline = Pipeline(
            [one.stream for one in opened.values()], [], is_kept_open=self._request.is_kept_open
        )

        control = SessionControl(RunningStreams(pipeline, opened, specs, shared, refused))
        reloader: Reloader | None = None

        def with_refused() -> RunStatistics:
            run = pipeline.statistics()
            running = {one.name for one in run.streams}
            others = [one for one in list(refused.values()) if one.name in specs and one.name not in running]
            config = None if reloader is None else reloader.state
            return msgspec.structs.replace(run, streams=(*run.streams, *others), config=config)

        if shared.hub is not None:
            shared.hub.read = with_refused
            shared.hub.control = control
        with contextlib.ExitStack() as running_stack:
            on_statistics = running_stack.enter_context(observer.while_running(list(opened.values())))
            url = running_stack.enter_context(self._request.service.watching(with_refused))
            if self._request.reload_from is not None:
                reloader = running_stack.enter_context(
                    Reloader(control, self._reload, self._request.watch, before)
                )
            if url is not None:
                observer.note(f"metrics: {url}")
            try:
                run = pipeline.run(self._stop, on_statistics)
            finally:
                for name in set(outputs).intersection(pipeline.unfinished):
                    outputs[name].pop_all()  # the thread that is writing closes them, whenever it comes back
        if self._on_frame is not None and self._on_frame.exit is not None:
            raise self._on_frame.exit
        errors = pipeline.errors
        outcomes = {
            one.name: StreamOutcome(
                one.name, one, errors.get(one.name), _outputs(opened, one.name), one.source
            )
            for one in run.streams
        }
        if not (errors and self._raises and not shared.several):  # its error will be raised
            for outcome in outcomes.values():
                observer.stream_ended(outcome)
        return outcomes


def _show_source(name: str, spec: StreamSpec, shared: Shared) -> None:
    """A stream that does not run, as the page shows it."""
    if shared.hub is not None:
        info = SourceInfo(display(spec.source), is_live=not is_local(spec.source))
        shared.hub.open_view(name, info, shared.models.of(spec).models)


def _outputs(opened: dict[str, OpenedStream], name: str) -> tuple[str, ...]:
    return opened[name].outputs if name in opened else ()


def _name(spec: StreamSpec, source: Source | EdgeVisionError | None) -> str:
    if spec.name:
        return spec.name
    if source is None or isinstance(source, EdgeVisionError):
        return display(spec.source)
    return source.info.name


def _attempt(
    spec: StreamSpec,
    source: Source | EdgeVisionError,
    name: str,
    shared: Shared,
    outputs: contextlib.ExitStack,
) -> OpenedStream | EdgeVisionError:
    """A stream whose outputs ``outputs`` closes, or why there is none; then nothing of it stays open."""
    if isinstance(source, EdgeVisionError):
        return source
    with contextlib.ExitStack() as own:
        try:
            stream = open_stream(spec, source, name, shared, own)
        except EdgeVisionError as error:
            return error
        except Exception as error:  # of a library, at this one stream's outputs: the other streams run
            reason = redact(" ".join(str(error).split()), spec.source)
            return SinkError(
                f"cannot open the outputs of {display(spec.source)}: {type(error).__name__}: {reason}"
            ).with_traceback(error.__traceback__)
        outputs.push(own.pop_all())
    return stream


def _was_closed(outcome: StreamOutcome) -> bool:
    return outcome.statistics is not None and outcome.statistics.stopped == "window"
