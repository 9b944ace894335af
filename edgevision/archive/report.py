"""A page over an archive: counts, a timeline of each file, and contact sheets of the best crops."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgevision.archive.records import FileSummary, ResultPlaces, Status
from edgevision.archive.tally import Crop, read_crops
from edgevision.drawing.overlay import palette
from edgevision.files import atomic_path

MOST_FILES = 500
"""Files with a row of their own, those with the most detections; the index has them all."""

CROPS_OF_A_CLASS = 48
_OF_A_FILE = 3  # crops of one class of one file, so that one file does not fill a sheet

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
       color: #1c2024; background: #fff; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.about { color: #60646c; margin-top: .2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .8rem .3rem 0;
       border-bottom: 1px solid #e4e6ea; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.name { overflow-wrap: anywhere; min-width: 11rem; } td.key { white-space: nowrap; }
.told { color: #b42318; } .reason { color: #60646c; font-size: .9em; }
svg { display: block; width: 100%; height: 2.2rem; background: #f4f5f7; border-radius: 3px; }
.key span { display: inline-block; margin-right: 1.2rem; } .key i { display: inline-block; width: .8rem;
       height: .8rem; border-radius: 2px; margin-right: .35rem; vertical-align: -1px; }
.sheet { display: flex; flex-wrap: wrap; gap: .5rem; } figure { margin: 0; width: 8.4rem; }
figure img { width: 100%; height: 8.4rem; object-fit: contain; background: #f4f5f7; border-radius: 3px; }
figcaption { font-size: .75rem; color: #60646c; overflow-wrap: anywhere; }
@media (max-width: 40rem) { table { display: block; overflow-x: auto; } body { margin-top: 1rem; }
  td.name { min-width: 8rem; } td.key ~ td.name { min-width: 18rem; } }
@media (prefers-color-scheme: dark) { body { color: #edeef0; background: #111113; }
  th, td { border-color: #2e3135; } svg, figure img { background: #212225; }
  .about, .reason, figcaption { color: #b0b4ba; } .told { color: #ff9592; } }
"""


def write_report(places: ResultPlaces, summaries: Sequence[FileSummary], model: str) -> Path:
    """Writes ``report.html``: one file that needs nothing beside it.

    Args:
        places: of the archive.
        summaries: of every file.
        model: names of the models.

    Raises:
        SinkError: it cannot be written.
    """
    path = places.out / "report.html"
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        for part in _page(places, summaries, model):
            file.write(part)
    return path


def _page(places: ResultPlaces, summaries: Sequence[FileSummary], model: str) -> Iterator[str]:
    found: Counter[str] = Counter()
    for one in summaries:
        found.update({name: of_class.detections for name, of_class in one.classes.items()})
    names = [name for name, _ in found.most_common()]
    colours = {
        name: f"#{r:02x}{g:02x}{b:02x}" for name, (b, g, r) in zip(names, palette(len(names)), strict=True)
    }
    title = html.escape(places.out.name or str(places.out))
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><h1>{title}</h1>'
    yield f'<p class="about">{html.escape(model)}, {_counts(summaries)}</p>'
    yield from _classes(summaries, names, colours)
    yield from _told(summaries)
    yield from _files(summaries, names, colours)
    yield from _sheets(places, summaries, names)
    yield "</html>\n"


def _counts(summaries: Sequence[FileSummary]) -> str:
    by_status = Counter(one.status for one in summaries)
    shown = [f"{by_status[status]} {status.value}" for status in Status if by_status[status]]
    frames = sum(one.frames for one in summaries)
    seconds = sum(one.duration_s for one in summaries)
    return f"{len(summaries)} files ({', '.join(shown)}), {frames} frames, {_clock(seconds)} of recordings"


def _classes(
    summaries: Sequence[FileSummary], names: Sequence[str], colours: dict[str, str]
) -> Iterator[str]:
    yield "<h2>Classes</h2>"
    if not names:
        yield "<p>No detections.</p>"
        return
    has_tracks = any(of_class.tracks for one in summaries for of_class in one.classes.values())
    columns = (
        "detections",
        "files",
        *(["tracks"] if has_tracks else []),
        "most in a frame",
        "longest seen in",
    )
    head = "".join(f'<th class="number">{name}</th>' for name in columns[:-1])
    yield f"<table><tr><th>class</th>{head}<th>{columns[-1]}</th></tr>"
    for name in names:
        with_it = [(one, one.classes[name]) for one in summaries if name in one.classes]
        longest = max(with_it, key=lambda pair: (pair[1].last_s - pair[1].first_s, pair[0].name))
        figures = (
            sum(of_class.detections for _, of_class in with_it),
            len(with_it),
            *([sum(of_class.tracks for _, of_class in with_it)] if has_tracks else []),
            max(of_class.most for _, of_class in with_it),
        )
        cells = "".join(f'<td class="number">{figure}</td>' for figure in figures)
        key = f'<i style="background:{colours[name]}"></i>'
        where = html.escape(longest[0].name)
        if longest[0].duration_s:  # not an image
            span = f"{_clock(longest[1].first_s)} to {_clock(longest[1].last_s)}"
            where += f' <span class="reason">{span}</span>'
        yield f'<tr><td class="key">{key}{html.escape(name)}</td>{cells}<td class="name">{where}</td></tr>'
    yield "</table>"


def _told(summaries: Sequence[FileSummary]) -> Iterator[str]:
    told = [one for one in summaries if one.status is not Status.DONE]
    if not told:
        return
    yield "<h2>Files that did not go well</h2><table>"
    for one in told[:MOST_FILES]:
        reason = f'<td class="reason">{html.escape(one.reason)}</td>'
        status = f'<td class="told">{one.status.value}</td>'
        yield f'<tr><td class="name">{html.escape(one.name)}</td>{status}{reason}</tr>'
    yield "</table>"
    if len(told) > MOST_FILES:
        yield f"<p>{len(told) - MOST_FILES} more are in index.jsonl.</p>"


def _files(summaries: Sequence[FileSummary], names: Sequence[str], colours: dict[str, str]) -> Iterator[str]:
    """A row for each file: what is seen when, as a bar for each bin of its time, one class upon the other."""
    moving = [one for one in summaries if one.classes and one.duration_s > 0]
    empty = sum(1 for one in summaries if not one.classes and one.status is Status.DONE)
    shown = sorted(moving, key=lambda one: -sum(of.detections for of in one.classes.values()))[:MOST_FILES]
    kept = {one.name for one in shown}
    if moving:
        yield "<h2>Over time</h2><table><tr><th>file</th><th>from the start to the end</th></tr>"
        for one in summaries:
            if one.name in kept:
                about = f'<span class="reason">{_clock(one.duration_s)}, {one.frames} frames</span>'
                yield f'<tr><td class="name">{html.escape(one.name)}<br>{about}</td>'
                yield f'<td style="width:60%">{_bars(one, names, colours)}</td></tr>'
        yield "</table>"
    if len(moving) > len(shown):
        yield f"<p>{len(moving) - len(shown)} files with fewer detections are in index.jsonl.</p>"
    if empty:
        yield f"<p>{empty} {'file shows' if empty == 1 else 'files show'} nothing.</p>"


def _bars(one: FileSummary, names: Sequence[str], colours: dict[str, str]) -> str:
    count = max(int(one.duration_s // one.bin_s) + 1, *(len(of.bins) for of in one.classes.values()))
    totals = [0] * count
    for of_class in one.classes.values():
        for position, value in enumerate(of_class.bins):
            totals[position] += value
    highest = max(totals)
    parts, filled = [], [0.0] * count
    for name in names:
        for position, value in enumerate(one.classes[name].bins if name in one.classes else ()):
            if value:
                height = 100 * value / highest
                filled[position] += height
                start = _clock(position * one.bin_s)
                parts.append(
                    f'<rect x="{position}" y="{100 - filled[position]:.2f}" width="1" height="{height:.2f}" '
                    f'fill="{colours[name]}"><title>{start}: {html.escape(name)} {value}</title></rect>'
                )
    return f'<svg viewBox="0 0 {count} 100" preserveAspectRatio="none">{"".join(parts)}</svg>'


def _sheets(places: ResultPlaces, summaries: Sequence[FileSummary], names: Sequence[str]) -> Iterator[str]:
    best: dict[str, list[tuple[Crop, str]]] = {name: [] for name in names}
    for one in summaries:
        if not one.classes:
            continue
        own: Counter[str] = Counter()
        for crop in read_crops(places.crops(one.name)):
            own[crop.class_name] += 1
            if own[crop.class_name] <= _OF_A_FILE and crop.class_name in best:
                best[crop.class_name].append((crop, one.name))
        for name, kept in best.items():
            if len(kept) > 2 * CROPS_OF_A_CLASS:
                best[name] = _first(kept)
    for name in names:
        crops = _first(best[name])
        if crops:
            yield f'<h2>{html.escape(name)}: the best detections</h2><div class="sheet">'
            for crop, file in crops:
                data = base64.b64encode(crop.jpeg).decode()
                about = f"{html.escape(file)} {_clock(crop.time_s)}, {crop.score:.2f}"
                yield f'<figure><img alt="" src="data:image/jpeg;base64,{data}">'
                yield f"<figcaption>{about}</figcaption></figure>"
            yield "</div>"


def _first(crops: Sequence[tuple[Crop, str]]) -> list[tuple[Crop, str]]:
    return sorted(crops, key=lambda pair: (-pair[0].score, pair[1], pair[0].frame))[:CROPS_OF_A_CLASS]


def _clock(seconds: float) -> str:
    """``1:02:03``, or with tenths below a minute, ``5.2 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes = f"{rest // 60:02}" if hours else str(rest // 60)
    return f"{hours}:{minutes}:{rest % 60:02}" if hours else f"{minutes}:{rest % 60:02}"
