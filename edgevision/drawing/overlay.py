"""Results drawn on an image: boxes, masks, poses and labels, class maps with a legend, a status line.

Sizes follow the image, so a label looks the same on 320x240 and on 4K. Text stands on a filled plate
in black or white, whichever contrasts more, so it can be read on any background. Plates are rendered
once and then copied, because drawing text costs far more than everything else here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.contract.manifest import Manifest
from edgevision.errors import UsageError
from edgevision.rotated import corners
from edgevision.types import (
    Attribute,
    Classification,
    Detections,
    FrameResult,
    Image,
    Result,
    SegmentationMap,
)

Colour = tuple[int, int, int]
"""BGR, 0..255."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TALL = "Ay0#%"
"""Every plate is as high as this text needs, so that plates side by side align."""
_STATUS_COLOUR: Colour = (40, 40, 40)
DEFAULT_OPACITY = 0.45
"""Of class maps and masks: the image below stays readable."""
SHOWN_KEYPOINT = 0.3
"""Least score of a key point that is drawn."""
_SHOWN_LABELS = 5
"""Labels of a whole image that are drawn, at most."""


def palette(count: int) -> tuple[Colour, ...]:
    """``count`` colours, each as far as possible from those before it.

    The rule: candidates are the RGB grid in steps of 32 with a CIELAB lightness of 40 to 90 and a chroma
    of at least 35, so none is close to black, white or grey. The first is the candidate nearest to pure
    green, then always the one with the greatest CIE76 distance to its nearest predecessor (farthest
    point sampling). Beyond the number of candidates (some 300) colours repeat.
    """
    steps = np.minimum(np.arange(0, 257, 32), 255).astype(np.float32)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _cielab(grid.astype(np.float64) / 255)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    usable = (lab[:, 0] >= 40) & (lab[:, 0] <= 90) & (chroma >= 35)
    colours, lab = grid[usable], lab[usable]
    chosen = [int(np.argmin(np.linalg.norm(colours - np.array([0, 255, 0]), axis=1)))]
    distance = np.full(len(lab), np.inf)
    while len(chosen) < min(count, len(lab)):
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    picked = [(int(b), int(g), int(r)) for b, g, r in colours[chosen]]
    return tuple(picked[i % len(picked)] for i in range(count))


def _cielab(bgr: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (CIE 15:2004, white D65) of sRGB colours (IEC 61966-2-1), float64 ``[N, 3]`` in 0..1, BGR.

    OpenCV has the same, and takes 80 ms at its first use for tables that nothing else here needs.
    """
    rgb = bgr[:, ::-1]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    )
    x, y, z = (linear @ to_xyz.T / to_xyz.sum(axis=1)).T
    f_x, f_y, f_z = (np.where(one > 0.008856, np.cbrt(one), 7.787 * one + 16 / 116) for one in (x, y, z))
    return np.stack([116 * f_y - 16, 500 * (f_x - f_y), 200 * (f_y - f_z)], axis=1)


class Overlay:
    """Draws one model's results.

    Args:
        manifest: of the model; its colours where it brings its own.
        opacity: of class maps and masks, 0 to 1.

    Raises:
        UsageError: the opacity is not within 0..1.
    """

    def __init__(self, manifest: Manifest, opacity: float = DEFAULT_OPACITY) -> None:
        check_opacity(opacity)
        self.opacity = opacity
        given = tuple((blue, green, red) for red, green, blue in manifest.colours)
        classes = len(manifest.classes)
        self.colours = given if len(given) == classes else palette(classes)
        self._class_ids = {name: i for i, name in enumerate(manifest.classes)}
        self._colour_map = np.zeros((256, 1, 3), np.uint8)
        self._colour_map[: len(self.colours), 0] = self.colours[:256]

    def draw(self, canvas: Image, result: Result, legend_top: int = 0) -> int:
        """Draws ``result`` on ``canvas``, uint8 ``[H, W, 3]``, in place.

        Args:
            canvas: the image.
            result: what to draw.
            legend_top: where the legend of a class map or the labels of the image start, in pixels from
                above.

        Returns:
            Where the next legend can start.
        """
        if isinstance(result, Detections):
            if result.masks is not None:
                self._draw_masks(canvas, result)
            self._draw_boxes(canvas, result)
            if result.keypoints is not None:
                self._draw_poses(canvas, result)
            return legend_top
        if isinstance(result, Classification):
            return self._draw_labels(canvas, result, legend_top)
        return self._draw_class_map(canvas, result, legend_top)

    def _draw_boxes(self, canvas: Image, found: Detections) -> None:
        unit = line_unit(canvas)
        line = max(2, unit)
        # Plain numbers, worst first, so that the best detections end up on top.
        edges = np.rint(found.boxes).astype(int)[::-1].tolist()
        class_ids, scores = found.class_ids[::-1].tolist(), found.scores[::-1].tolist()
        names = found.row_names[::-1]
        if found.track_ids is not None:
            tracks = found.track_ids[::-1].tolist()
            names = [
                name if track_id is None else f"{name} #{track_id}"
                for name, track_id in zip(names, tracks, strict=True)
            ]
        if found.attributes is not None:
            names = self._with_attributes(canvas, names, found.attributes[::-1].tolist())
        if found.rotated_boxes is not None:
            shapes = np.rint(corners(found.rotated_boxes)).astype(np.int32)[::-1]
            for shape, class_id in zip(shapes, class_ids, strict=True):
                cv2.polylines(canvas, [shape], True, (0, 0, 0), line + 2, cv2.LINE_AA)
                cv2.polylines(canvas, [shape], True, self.colours[class_id], line, cv2.LINE_AA)
        else:
            for (left, top, right, bottom), class_id in zip(edges, class_ids, strict=True):
                _outline(canvas, left, top, right - 1, bottom - 1, line, self.colours[class_id])
        for (left, top, _, _), class_id, score, name in zip(edges, class_ids, scores, names, strict=True):
            plate = _label_plate(name, f"{score:.2f}", self.colours[class_id], unit)
            above = top - plate.shape[0]
            paste(canvas, plate, left - unit // 2, above if above >= 0 else top)

    def _with_attributes(
        self, canvas: Image, names: list[str], attributes: Sequence[Sequence[Attribute]]
    ) -> list[str]:
        """The names with what a second model said; the boxes that it gave are drawn in a thin line."""
        for one in (said for row in attributes for said in row if said.box is not None):
            left, top, right, bottom = (round(value) for value in one.box or ())
            cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), (255, 255, 255), 1)
        return [
            f"{name}: {', '.join(dict.fromkeys(said.name for said in row))}" if row else name
            for name, row in zip(names, attributes, strict=True)
        ]

    def _draw_masks(self, canvas: Image, found: Detections) -> None:
        """Fills the pixels of each object with the colour of its class, the best detections on top."""
        if found.masks is None:
            return
        places = zip(found.masks.crops, found.masks.origins.tolist(), found.class_ids.tolist(), strict=True)
        for mask, (x, y), class_id in reversed(list(places)):
            if not mask.size:
                continue
            part = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
            colour = np.broadcast_to(np.array(self.colours[class_id], np.uint8), part.shape)
            painted = cv2.addWeighted(colour, self.opacity, part, 1 - self.opacity, 0)
            np.copyto(part, painted, where=mask[:, :, None])

    def _draw_poses(self, canvas: Image, found: Detections) -> None:
        """Key points of :data:`SHOWN_KEYPOINT` or more, and the bones between two of them."""
        if found.keypoints is None:
            return
        unit = line_unit(canvas)
        bones = () if found.skeleton is None else found.skeleton.bones
        places = np.rint(np.clip(found.keypoints[..., :2], -1e4, 1e5)).astype(int)[::-1].tolist()
        shown = (found.keypoints[..., 2] >= SHOWN_KEYPOINT)[::-1].tolist()
        for points, is_shown, class_id in zip(places, shown, found.class_ids[::-1].tolist(), strict=True):
            lines = [(points[a], points[b]) for a, b in bones if is_shown[a] and is_shown[b]]
            dots = [point for point, is_seen in zip(points, is_shown, strict=True) if is_seen]
            for colour, wider in (((0, 0, 0), 2), (self.colours[class_id], 0)):
                for start, end in lines:
                    cv2.line(canvas, start, end, colour, unit + wider, cv2.LINE_AA)
            for dot in dots:
                cv2.circle(canvas, dot, unit + 1, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
                cv2.circle(canvas, dot, unit, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)

    def _draw_labels(self, canvas: Image, shown: Classification, y: int) -> int:
        unit = line_unit(canvas)
        for one in shown.labels()[:_SHOWN_LABELS]:
            colour = self.colours[self._class_ids[one.name]]
            plate = _label_plate(one.name, f"{one.score:.2f}", colour, unit)
            paste(canvas, plate, 0, y)
            y += plate.shape[0]
        return y

    def _draw_class_map(self, canvas: Image, result: SegmentationMap, y: int) -> int:
        painted = cv2.applyColorMap(result.class_map, self._colour_map)
        cv2.addWeighted(painted, self.opacity, canvas, 1 - self.opacity, 0, dst=canvas)
        unit = line_unit(canvas)
        for class_id in np.flatnonzero(result.shares() >= 0.001):
            plate = text_plate(result.names[class_id], self.colours[class_id], unit)
            paste(canvas, plate, 0, y)
            y += plate.shape[0]
        return y


def check_opacity(opacity: float) -> None:
    """Raises :class:`UsageError` unless ``opacity`` lies in 0..1."""
    if not 0 <= opacity <= 1:  # also refuses NaN
        raise UsageError(f"opacity {opacity} is not valid; expected 0 to 1")


def draw_status(canvas: Image, text: str) -> None:
    """Writes one line in the lower left corner of ``canvas``, in place."""
    # Not cached: a status is rarely repeated, and a thousand of them would evict the labels.
    plate = _render_plate(text, _STATUS_COLOUR, line_unit(canvas))
    paste(canvas, plate, 0, canvas.shape[0] - plate.shape[0])


def render(result: FrameResult, overlays: Sequence[Overlay], status: str = "") -> Image:
    """A copy of the frame's image with the result of each model drawn on it.

    Args:
        result: what to draw.
        overlays: one for each model.
        status: a line for the lower left corner; empty for none.
    """
    canvas: Image = result.frame.image.copy()
    # Class maps cover everything, so boxes and labels come after them.
    order = sorted(
        zip(overlays, result.results, strict=True), key=lambda pair: not isinstance(pair[1], SegmentationMap)
    )
    legend_top = 0
    for overlay, of_model in order:
        legend_top = overlay.draw(canvas, of_model, legend_top)
    if status:
        draw_status(canvas, status)
    return canvas


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever contrasts more with ``background``.

    The contrast is that of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio): black wins above
    a relative luminance of 0.179, where both ratios are equal.
    """
    channels = np.array(background[::-1]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def line_unit(canvas: Image) -> int:
    """Width of a line in pixels: 2 at 768x432, 3 at 720p, 5 at 1080p, 9 at 4K."""
    return max(1, round(int(min(canvas.shape[:2])) / 230))


def _outline(canvas: Image, left: int, top: int, right: int, bottom: int, width: int, colour: Colour) -> None:
    """A frame of ``width`` pixels round these, with a black pixel inside and outside.

    One-pixel frames within each other: OpenCV draws a thick line as a polygon, at twice the time.
    """
    first, last = -(width // 2) - 1, width - width // 2
    for step in range(first, last + 1):
        edge = (0, 0, 0) if step in (first, last) else colour
        cv2.rectangle(canvas, (left + step, top + step), (right - step, bottom - step), edge, 1)


class PlateCache:
    """A cache of plates by their content; the least recently used are evicted. Thread-safe.

    Bounded in bytes and not in number, because a plate on 4K is nine times as large as one on 720p.

    Args:
        capacity: bytes.

    Attributes:
        held: bytes now.
        rendered: plates made so far.
    """

    def __init__(self, capacity: int) -> None:
        self.held = self.rendered = 0
        self._capacity = capacity
        self._plates: OrderedDict[Hashable, NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, render: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The plate of ``key``; made by ``render`` where it is not cached."""
        with self._lock:
            plate = self._plates.get(key)
            if plate is not None:
                self._plates.move_to_end(key)
                return plate
        plate = render()
        with self._lock:
            self.rendered += 1
            if key not in self._plates:  # another thread may have added it
                self._plates[key] = plate
                self.held += plate.nbytes
            while self.held > self._capacity:
                self.held -= self._plates.popitem(last=False)[1].nbytes
        return plate


PLATES = PlateCache(32 * 2**20)
"""Of the whole process: some 700 labels with their halves on 1080p. With half of it, ten boxes of 80 classes
took nearly twice as long there, because labels were evicted before they were needed again."""


def _label_plate(name: str, score: str, colour: Colour, unit: int) -> NDArray[np.uint8]:
    """Name and score on one plate. Both halves are cached too: there are too many combinations of them."""
    return PLATES.get(
        (name, score, colour, unit),
        lambda: np.hstack([text_plate(name, colour, unit), text_plate(score, colour, unit)]),
    )


def text_plate(text: str, colour: Colour, unit: int) -> NDArray[np.uint8]:
    """``text`` on a filled plate: uint8 ``[h, w, 3]``. Shared between calls, so never drawn on."""
    return PLATES.get((text, colour, unit), lambda: _render_plate(text, colour, unit))


def _render_plate(text: str, colour: Colour, unit: int) -> NDArray[np.uint8]:
    scale = max(0.36, 0.22 * unit + 0.04)
    weight = max(1, round(unit * 0.55))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, weight)
    (_, height), baseline = cv2.getTextSize(_TALL, _FONT, scale, weight)
    margin = unit + 1
    plate = np.empty((height + baseline + 2 * margin, width + 2 * margin, 3), np.uint8)
    plate[:] = colour
    origin = (margin, margin + height + baseline // 2)
    cv2.putText(plate, text, origin, _FONT, scale, text_colour(colour), weight, cv2.LINE_AA)
    return plate


def paste(canvas: Image, plate: NDArray[np.uint8], x: int, y: int) -> None:
    """Copies ``plate`` to ``canvas``, moved so that all of it is inside where there is room for it."""
    (height, width, _), (rows, columns, _) = canvas.shape, plate.shape
    x = max(0, min(x, width - columns))
    y = max(0, min(y, height - rows))
    canvas[y : y + rows, x : x + columns] = plate[: height - y, : width - x]
