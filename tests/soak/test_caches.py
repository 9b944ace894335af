"""Caches are full after they were filled: a run that follows adds nothing to them."""

import numpy as np

from edgevision.drawing.overlay import Overlay
from edgevision.engines.fake import FakeEngine, fake_manifest
from edgevision.model import KEPT_BUFFERS, Model
from edgevision.soak.caches import fill_caches
from edgevision.types import Detections
from edgevision.video.base import SourceInfo


def test_every_buffer_and_label_is_there(monkeypatch):
    manifest = fake_manifest(classes=("car", "dog"))
    model, drawn = Model(FakeEngine(manifest=manifest)), []
    overlay = Overlay(manifest)
    draw = overlay.draw
    monkeypatch.setattr(
        overlay, "draw", lambda image, found: (drawn.append((image.shape, found)), draw(image, found))
    )
    fill_caches(SourceInfo("camera", True, 320, 240), [model], [overlay])
    assert {shape for shape, _ in drawn} == {(240, 320, 3)}
    scores = {(int(found.class_ids[0]), round(float(s), 2)) for _, found in drawn for s in found.scores}
    assert scores == {(class_id, i / 100) for class_id in range(2) for i in range(101)}
    image = np.zeros((240, 320, 3), np.uint8)
    kept = [model.prepare([image]).frames for _ in range(KEPT_BUFFERS)]
    assert len({array.ctypes.data for array in kept}) == KEPT_BUFFERS
    assert isinstance(drawn[0][1], Detections)
