import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.contract.manifest import TensorSpec
from edgevision.engines import load_engine
from edgevision.engines.fake import FakeEngine, fake_manifest, scripted
from edgevision.errors import EngineError, UsageError
from edgevision.model import Model, detect
from edgevision.types import Detections, SegmentationMap
from tests.support.manifests import COLOURS
from tests.support.models import image_with_block, write_colour_model


class RawEngine(FakeEngine):
    """Answers with exactly the arrays it is given."""

    def __init__(self, boxes, scores, labels, count=None):
        super().__init__(manifest=fake_manifest(classes=("a", "b"), max_detections=len(scores)))
        self.raw = {
            "boxes": np.array([boxes], np.float32),
            "scores": np.array([scores], np.float32),
            "labels": np.array([labels], np.int32),
            "count": np.array([len(scores) if count is None else count], np.int32),
        }

    def infer(self, inputs):
        return self.raw


BOX = [[10, 100, 30, 120]]
PICTURE = np.zeros((320, 320, 3), np.uint8)


def detector(answer, **options):
    engine = FakeEngine(scripted([answer]), fake_manifest(classes=("person", "car", "dog")))
    return Model(engine, **options)


def test_boxes_are_in_source_pixels():
    found = Detections([[0, 40, 320, 280], [160, 160, 240, 220]], [0.9, 0.8], [1, 0])
    (result,) = detector(found)([np.zeros((480, 640, 3), np.uint8)])
    assert result.boxes.tolist() == [[0, 0, 640, 480], [320, 240, 480, 360]]
    assert result.class_ids.tolist() == [1, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(64, 2000), st.integers(64, 2000), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_a_block_is_found_where_it_is(tmp_path_factory, width, height, x, y):
    x1, y1 = round(x * width), round(y * height)
    x2, y2 = x1 + width // 2, y1 + height // 2
    path = tmp_path_factory.getbasetemp() / "block.onnx"
    if not path.exists():
        write_colour_model(path, size=320)
    with load_engine(path, threads=1) as engine:
        (found,) = Model(engine)([image_with_block(width, height, (x1, y1, x2, y2), (0, 255, 0))])
    pixel = max(width, height) / 320
    assert [COLOURS[i] for i in found.class_ids] == ["green"]
    assert np.abs(found.boxes[0] - [x1, y1, x2, y2]).max() <= pixel + 1


def test_boxes_are_asked_of_a_detector_only():
    assert detect(detector(Detections(BOX, [0.9], [1])), PICTURE).class_ids.tolist() == [1]
    classes = ("road", "other")
    roads = scripted([SegmentationMap(PICTURE[..., 0], classes)])
    model = Model(FakeEngine(roads, fake_manifest("segmentation", classes)))
    with pytest.raises(UsageError, match=r"^fake is a model for segmentation; expected a detector$"):
        detect(model, PICTURE)


def test_a_batch_may_mix_sizes(tmp_path):
    images = [
        image_with_block(64, 64, (8, 8, 24, 40), (255, 0, 0)),
        image_with_block(640, 320, (100, 100, 300, 200)),
        np.zeros((1, 1, 3), np.uint8),
    ]
    with load_engine(write_colour_model(tmp_path / "m.onnx")) as engine:
        detect = Model(engine)
        together = detect(images)
        alone = [detect([image])[0] for image in images]
        assert detect([]) == []
    assert [len(found) for found in together] == [1, 1, 0]
    assert together[0].boxes.tolist() == [[8, 8, 24, 40]]
    assert together[1].boxes.tolist() == [[100, 100, 300, 200]]
    for a, b in zip(together, alone, strict=True):
        assert (a.boxes == b.boxes).all()


def test_threshold_and_classes_choose():
    found = Detections([[0, 0, i + 1, 9] for i in range(4)], [0.9, 0.6, 0.35, 0.2], [0, 1, 0, 2])
    assert len(detector(found)([PICTURE])[0]) == 3
    assert len(detector(found, conf_threshold=0.5)([PICTURE])[0]) == 2
    assert len(detector(found, conf_threshold=0)([PICTURE])[0]) == 4
    assert len(detector(found, conf_threshold=1)([PICTURE])[0]) == 0
    kept = detector(found, conf_threshold=0.1, classes=["dog", "person"])([PICTURE])[0]
    assert kept.class_ids.tolist() == [0, 0, 2]


@pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan"), 35])
def test_impossible_thresholds_are_refused(threshold):
    with pytest.raises(UsageError, match="expected 0 to 1"):
        detector(Detections.empty(), conf_threshold=threshold)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["persn"], "no class 'persn'; did you mean 'person'"),
        (["zebra"], "no class 'zebra'; it has: person, car, dog"),
        ([], "no class was given"),
    ],
)
def test_classes_that_the_model_lacks_are_refused(classes, message):
    with pytest.raises(UsageError, match=message):
        detector(Detections.empty(), classes=classes)


def test_a_threshold_below_the_models_own_is_noted():
    assert detector(Detections.empty()).notes == ()
    (note,) = detector(Detections.empty(), conf_threshold=0.01).notes
    assert "0.01 has the effect of 0.05" in note


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (RawEngine([[0, 0, np.nan, 9]], [0.9], [0]), "not finite"),
        (RawEngine(BOX, [np.inf], [0]), "not finite"),
        (RawEngine([[30, 0, 10, 9]], [0.9], [0]), "inverted box"),
        (RawEngine(BOX, [0.9], [2]), "class id that does not exist"),
        (RawEngine(BOX, [0.9], [-1]), "class id that does not exist"),
        (RawEngine(BOX, [0.9], [0], count=2), "count of 2"),
        (RawEngine(BOX, [0.9], [0], count=-1), "count of -1"),
    ],
)
def test_nonsense_from_an_engine_is_one_clear_error(engine, message):
    with pytest.raises(EngineError, match=message) as caught:
        Model(engine)([PICTURE])
    assert "\n" not in str(caught.value)


def test_padding_behind_the_count_is_not_looked_at():
    engine = RawEngine([*BOX, [np.nan] * 4], [0.9, np.nan], [0, -1], count=1)
    assert len(Model(engine)([PICTURE])[0]) == 1


def test_a_box_wholly_in_the_padding_is_dropped():
    engine = RawEngine([[10, 0, 50, 30], [10, 100, 50, 130]], [0.9, 0.8], [0, 1])
    (found,) = Model(engine)([np.zeros((160, 320, 3), np.uint8)])  # the image starts at row 80
    assert found.class_ids.tolist() == [1]
    assert found.boxes.tolist() == [[10, 20, 50, 50]]


def test_input_buffers_are_reused_once_a_batch_is_finished():
    detect = detector(Detections.empty())
    first = detect.prepare([PICTURE])
    second = detect.prepare([PICTURE])
    assert not np.shares_memory(first.frames, second.frames)
    detect.finish(first, detect.infer(first))
    assert np.shares_memory(detect.prepare([PICTURE]).frames, first.frames)
    detect.finish(second, detect.infer(second))
    assert detect.prepare([PICTURE] * 2).frames.shape[0] == 2


def test_a_reused_buffer_holds_nothing_of_the_image_before(tmp_path):
    with load_engine(write_colour_model(tmp_path / "m.onnx")) as engine:
        detect = Model(engine)
        assert len(detect([np.full((64, 64, 3), 255, np.uint8)])[0]) == 1
        assert len(detect([np.zeros((10, 64, 3), np.uint8)])[0]) == 0


class PairEngine(FakeEngine):
    """Takes two images at once and no other number, and reuses its output arrays."""

    def __init__(self):
        super().__init__()
        spec = self.inputs[0]
        self.inputs = (TensorSpec(spec.name, spec.dtype, (2, *spec.shape[1:])),)
        self._arrays = None

    def infer(self, inputs):
        found = super().infer(inputs)
        self._arrays = self._arrays or found
        for name, array in found.items():
            self._arrays[name][:] = array
        return self._arrays


@pytest.mark.parametrize(("images", "calls"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_a_model_of_one_batch_size_is_fed_in_parts(images, calls):
    engine = PairEngine()
    boxes = [(10 * i, 20, 10 * i + 60, 80) for i in range(images)]
    results = Model(engine)([image_with_block(320, 320, box, (255, 255, 255)) for box in boxes])
    assert [tuple(one.boxes[0].astype(int)) for one in results] == boxes
    assert engine.calls == calls


def test_prepared_images_can_be_joined_for_the_engine_and_their_answers_split():
    """Images of different sizes, each with its block; joined and split they answer as they do alone."""
    one = Model(FakeEngine())
    images = [image_with_block(64 + 32 * i, 96, (4 * i, 8, 4 * i + 20, 40)) for i in range(4)]
    alone = [one([image])[0].boxes for image in images]
    batches = [one.prepare([image]) for image in images]
    joined = one.join(batches)
    outputs = one.infer(joined)
    parts = one.split(joined, batches, outputs)
    for array in outputs.values():
        array[:] = 0  # the engine may reuse its arrays at once
    together = [one.finish(batch, part)[0].boxes for batch, part in zip(batches, parts, strict=True)]
    assert [boxes.tolist() for boxes in together] == [boxes.tolist() for boxes in alone]


def test_a_single_batch_is_joined_without_a_copy():
    one = Model(FakeEngine())
    batch = one.prepare([PICTURE])
    assert one.join([batch]) is batch
