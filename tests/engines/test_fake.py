import threading
import time

import numpy as np
import pytest

from edgevision.contract.manifest import check_contract
from edgevision.engines.fake import FakeEngine, bright_area, bright_objects, fake_manifest, scripted
from edgevision.errors import EngineError
from edgevision.model import Model
from edgevision.types import Detections, SegmentationMap
from tests.support.models import image_with_block


def frames(count=1, size=320):
    return {"frames": np.zeros((count, size, size, 3), np.uint8)}


def test_it_follows_the_contract_it_claims():
    for engine in (FakeEngine(), FakeEngine(bright_area, fake_manifest("segmentation", ("dark", "bright")))):
        check_contract(engine.manifest, engine.inputs, engine.outputs, "fake")
        outputs = engine.infer(frames(2))
        for spec in engine.outputs:
            assert outputs[spec.name].dtype == spec.dtype
            assert len(outputs[spec.name]) == 2
            assert outputs[spec.name].ndim == len(spec.shape)


def test_bright_objects_are_boxes_best_first():
    image = image_with_block(100, 80, (10, 20, 30, 40), (0, 0, 210))
    image[50:60, 70:90] = 255
    found = bright_objects(image)
    assert found.boxes.tolist() == [[70, 50, 90, 60], [10, 20, 30, 40]]
    assert found.scores.tolist() == pytest.approx([1, 210 / 255])


def test_scripted_answers_come_in_turn():
    answers = [Detections([[0, 0, i, i]], [0.9], [0]) for i in (1, 2)]
    engine = FakeEngine(scripted(answers))
    found = [engine.infer(frames())["boxes"][0, 0, 2] for _ in range(3)]
    assert found == [1, 2, 1]
    assert engine.calls == 3
    assert engine.infer(frames(2))["boxes"][:, 0, 2].tolist() == [2, 1]


def test_more_answers_than_fit_are_cut():
    many = Detections(np.zeros((9, 4)), np.full(9, 0.5), np.zeros(9))
    outputs = FakeEngine(scripted([many]), fake_manifest(max_detections=4)).infer(frames())
    assert outputs["count"].tolist() == [4]


def test_segmentation_goes_through_the_detector():
    engine = FakeEngine(bright_area, fake_manifest("segmentation", ("dark", "bright")))
    (found,) = Model(engine)([image_with_block(640, 480, (0, 0, 320, 480))])
    assert isinstance(found, SegmentationMap)
    assert found.class_map.shape == (480, 640)
    assert found.shares().tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_engines_that_share_a_lock_take_turns():
    lock = threading.Lock()
    engines = [FakeEngine(scripted([Detections.empty()]), latency_ms=30, lock=lock) for _ in range(2)]
    threads = [threading.Thread(target=engine.infer, args=(frames(),)) for engine in engines]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.perf_counter() - start >= 0.06  # 0.03 if they overlapped


def test_misuse_is_an_engine_error():
    engine = FakeEngine()
    with pytest.raises(EngineError, match="expected input frames"):
        engine.infer(frames(size=64))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(frames())
