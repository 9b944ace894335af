"""The streams of a run, each of which is opened, adjusted and ended on its own."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgevision.errors import EdgeVisionError, SourceError, UsageError
from edgevision.pipeline import Pipeline, StreamStatistics
from edgevision.session.shared import Shared
from edgevision.session.spec import StreamSpec
from edgevision.session.streams import OpenedStream, open_stream, selected
from edgevision.tracking import ZoneLayout
from edgevision.video import Source, open_source
from edgevision.video.sources.options import SourceOptions

_LOG = logging.getLogger(__name__)


class RunningStreams:
    """What can be done to a stream while the others run. One change at a time.

    Args:
        pipeline: the run.
        opened: its streams; changed here.
        specs: what was asked of each, by its name; changed here.
        shared: what all streams have in common.
        refused: of the streams that do not run, why; changed here.

    Attributes:
        pipeline, specs, shared: as given.
        paused: what was asked of the streams that wait to be resumed, by their names.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        opened: dict[str, OpenedStream],
        specs: dict[str, StreamSpec],
        shared: Shared,
        refused: dict[str, StreamStatistics],
    ) -> None:
        self.pipeline, self.specs, self.shared = pipeline, specs, shared
        self.paused = {name: spec for name, spec in specs.items() if spec.paused}
        self._opened, self._refused = opened, refused

    def known(self, name: str) -> StreamSpec:
        """What was asked of a stream.

        Raises:
            UsageError: there is no such stream.
        """
        if name not in self.specs:
            raise UsageError(f"there is no stream '{name}'")
        return self.specs[name]

    def open(
        self,
        spec: StreamSpec,
        name: str,
        source: Source | None = None,
        options: SourceOptions = SourceOptions(),  # noqa: B008  (frozen)
    ) -> None:
        """Opens a stream and adds it to the run.

        Args:
            spec: what is asked of it.
            name: its name.
            source: its source, where that is open.
            options: how the source is opened otherwise.

        Raises:
            EdgeVisionError: the source or an output cannot be opened.
        """
        shared = self.shared
        request = dataclasses.replace(shared.request, append=True, overwrite=False)
        taken = {claim for one, opened in self._opened.items() if one != name for claim in opened.claims}
        own_shared = dataclasses.replace(shared, request=request, _taken=taken)
        with contextlib.ExitStack() as own:
            if source is None:
                source = open_source(spec.source, options, threads=shared.budget.decode)
                source = selected(source, spec.selection)
            opened = open_stream(spec, own.enter_context(source), name, own_shared, own)
            if opened.has_window:
                raise UsageError("a stream with a window cannot be added; it lives on the main thread")
            try:
                self.pipeline.add(opened.stream)
            except ValueError as error:
                raise SourceError(f"cannot add {name}: {error}") from error
            own.pop_all()  # the pipeline closes them at the stream's end
        self._opened[name] = opened
        self._refused.pop(name, None)

    def end(self, name: str) -> None:
        """Ends a stream; its outputs are finished.

        Raises:
            SourceError: that takes too long; it ends nevertheless, and the next reload begins it again.
        """
        try:
            self.pipeline.remove(name)
        except TimeoutError:
            error = SourceError(f"'{name}' still finishes its outputs; try again")
            self._refuse(name, error)
            raise error from None
        self._opened.pop(name, None)
        self._refused.pop(name, None)

    def drop(self, name: str) -> None:
        """Ends a stream that is in the list no more."""
        self.end(name)
        self.paused.pop(name, None)
        if self.shared.hub is not None:
            self.shared.hub.remove_view(name)

    def begin(self, name: str, spec: StreamSpec, source: Source | None) -> None:
        """A stream that is new or begins again; where it cannot, its source is closed."""
        with contextlib.ExitStack() as own:
            if source is not None:
                own.enter_context(source)
            self.end(name)
            own.pop_all()
        self.paused.pop(name, None)
        self.open(spec, name, source, SourceOptions(wait=True))

    def attempt(self, name: str, act: Callable[..., None], *arguments: Any) -> bool:
        """One stream that cannot be changed does not hold up the others; False where it was not."""
        try:
            act(*arguments)
        except EdgeVisionError as error:
            _LOG.warning("this stream does not run: %s: %s", name, error)
            self._refuse(name, error)
            return False
        return True

    def leave(self, name: str, act: Callable[[str], None]) -> None:
        """Ends a stream by ``act``; what takes longer than that is waited for is let go later."""
        try:
            act(name)
        except SourceError:
            _LOG.warning("'%s' still finishes its outputs; it is over once they are finished", name)

    def _refuse(self, name: str, error: EdgeVisionError) -> None:
        self._refused[name] = StreamStatistics.of_refused(name, name, str(error))

    def can_adjust(self, name: str, before: StreamSpec, spec: StreamSpec) -> bool:
        """Whether what changed can change in a stream that runs."""
        tracks, opened = self.shared.request.tracks, self._opened.get(name)
        if opened is None or name in self._refused or (tracks(before) and not tracks(spec)):
            return False
        return not tracks(spec) or opened.stream.scene is not None

    def has_other_files(self, name: str, spec: StreamSpec) -> bool:
        """Whether another model file lies now where a stream's was read."""
        opened = self._opened.get(name)
        return opened is not None and opened.models.engines != self.shared.models.of(spec).engines

    def adjust(
        self, name: str, spec: StreamSpec, layout: ZoneLayout | None, version: str, before: StreamSpec
    ) -> bool:
        """Other zones, threshold and classes for a stream that runs; False where nothing differs."""
        opened, scene = self._opened[name], self._opened[name].stream.scene
        has_zones = spec.zones is not None or before.zones is not None
        new_zones = scene is not None and has_zones and scene.next_layout != layout
        choice = self.shared.request.choice
        is_same = choice(spec) == choice(before) and (spec.zones is None) == (before.zones is None)
        if not is_same:
            models = self.shared.models.of(spec)
            self.pipeline.set_models(name, models.models, models.fallback)
            if opened.stream.crops is not None and models.then is not None:
                opened.stream.crops.model = models.then
            self._opened[name] = dataclasses.replace(opened, models=models)
            if scene is not None:
                scene.change_threshold(choice(spec).conf_threshold)
        if scene is not None and new_zones:
            scene.change_layout(layout)
        hub = self.shared.hub
        if hub is not None and has_zones and (view := hub.view(name)) is not None:
            view.zones_file = hub.own_zones_file(view) if spec.zones is None else Path(spec.zones)
            view.change_layout(layout, version)
            view.is_tracked = True
        return new_zones or not is_same

    def let_go(self) -> None:
        """What streams had that were removed or paused, and ended later than that was waited for."""
        over = [
            name
            for name in self._opened
            if (name not in self.specs or name in self.paused) and not self.pipeline.has_stream(name)
        ]
        for name in over:
            if name in self.specs:
                self.end(name)
            else:
                self.drop(name)
        if over:
            self.release()

    def release(self) -> None:
        """Closes the engines that no stream has any more."""
        self.pipeline.release_engines()
        self.shared.models.close_unused([one.models for one in list(self._opened.values())])
