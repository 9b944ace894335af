import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Resize

RULE = Resize()
# 1x1 to 4K, portrait, and panoramas whose short side vanishes in the input.
sides = st.one_of(st.integers(1, 20), st.integers(1, 4096))
inputs = st.sampled_from([(320, 320), (416, 416), (480, 384), (64, 512), (33, 47)])
rules = st.sampled_from([Resize(), Resize(rule="stretch"), Resize(fill=0, interpolation="area")])


@given(sides, sides, inputs, rules, st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5))
def test_boxes_come_back_to_where_they_were(width, height, size, rule, fractions):
    letterbox = Letterbox.fit(width, height, *size, rule)
    points = np.array(fractions, np.float32).reshape(-1, 2, 2)
    corners = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    boxes = corners * np.array([width, height, width, height], np.float32)
    inner = letterbox.boxes(boxes)
    assert (inner[:, 0] >= letterbox.left - 1e-3).all()
    assert (inner[:, 2] <= letterbox.left + letterbox.inner_width + 1e-3).all()
    assert (inner[:, 1] >= letterbox.top - 1e-3).all()
    assert (inner[:, 3] <= letterbox.top + letterbox.inner_height + 1e-3).all()
    # Half a pixel is what is promised; float32 at 4096 leaves far less.
    assert np.abs(letterbox.source_boxes(inner) - boxes).max(initial=0) < 0.5


@given(sides, sides, inputs)
def test_the_image_fits_inside_centred_with_its_aspect_ratio(width, height, size):
    letterbox = Letterbox.fit(width, height, *size, RULE)
    assert 1 <= letterbox.inner_width <= size[0]
    assert 1 <= letterbox.inner_height <= size[1]
    assert letterbox.inner_width == size[0] or letterbox.inner_height == size[1]
    right = size[0] - letterbox.left - letterbox.inner_width
    bottom = size[1] - letterbox.top - letterbox.inner_height
    assert 0 <= right - letterbox.left <= 1
    assert 0 <= bottom - letterbox.top <= 1
    exact = min(size[0] / width, size[1] / height)
    assert abs(letterbox.inner_width - max(1, width * exact)) <= 0.5
    assert abs(letterbox.inner_height - max(1, height * exact)) <= 0.5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), inputs, rules)
def test_the_image_fills_its_place_and_the_rest_is_padding(width, height, size, rule):
    letterbox = Letterbox.fit(width, height, *size, rule)
    image = np.full((height, width, 3), (200, 30, 90), np.uint8)
    out = np.full((size[1], size[0], 3), 77, np.uint8)  # what a reused buffer still holds
    assert letterbox.image(image, out=out) is out
    expected = np.full_like(out, rule.fill)
    rows = slice(letterbox.top, letterbox.top + letterbox.inner_height)
    expected[rows, letterbox.left : letterbox.left + letterbox.inner_width] = (200, 30, 90)
    assert (out == expected).all()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(640, 480), (480, 640), (1920, 1080), (3840, 2160), (2000, 300), (300, 2000), (97, 61)]),
    st.floats(0.1, 0.6),
    st.floats(0.1, 0.6),
    st.floats(0.2, 0.4),
)
def test_a_thing_in_the_image_is_found_where_it_is(size, x, y, extent):
    """Pixels and geometry agree: a block is drawn, found in the input, and mapped back."""
    width, height = size
    block = np.round([x * width, y * height, (x + extent) * width, (y + extent) * height]).astype(int)
    image = np.zeros((height, width, 3), np.uint8)
    image[block[1] : block[3], block[0] : block[2]] = 255
    letterbox = Letterbox.fit(width, height, 320, 320, Resize(fill=0, interpolation="area"))
    grey = letterbox.image(image)[..., 0].astype(float) / 255
    # Sub-pixel edges: the first full row or column, less the share that the one before it covers.
    columns, rows = grey.max(axis=0), grey.max(axis=1)
    edges = [_edges(columns), _edges(rows)]
    found = np.array([[edges[0][0], edges[1][0], edges[0][1], edges[1][1]]], np.float32)
    back = letterbox.source_boxes(found)[0]
    pixel = max(1 / letterbox.scale_x, 1 / letterbox.scale_y, 1)
    assert np.abs(back - block).max() <= 0.5 * pixel + 0.02


def _edges(profile):
    lit = np.flatnonzero(profile > 0)
    first, last = lit[0], lit[-1]
    return first + 1 - profile[first], last + profile[last]


def test_known_geometry():
    letterbox = Letterbox.fit(640, 480, 320, 320, RULE)
    assert (letterbox.inner_width, letterbox.inner_height, letterbox.left, letterbox.top) == (320, 240, 0, 40)
    boxes = np.array([[0, 0, 640, 480], [320, 240, 480, 360]], np.float32)
    expected = [[0, 40, 320, 280], [160, 160, 240, 220]]
    assert letterbox.boxes(boxes).tolist() == expected
    outside = np.array([[-50, 0, 400, 320]], np.float32)
    assert letterbox.source_boxes(outside).tolist() == [[0, 0, 640, 480]]


def test_a_letterbox_at_the_top_left_pads_to_the_right_and_below():
    box = Letterbox.fit(160, 90, 128, 128, Resize(place="top-left", fill=7))
    assert (box.left, box.top, box.inner_width, box.inner_height) == (0, 0, 128, 72)
    made = box.image(np.full((90, 160, 3), 200, np.uint8))
    assert (made[:72] == 200).all()
    assert (made[72:] == 7).all()
    np.testing.assert_allclose(box.source_boxes(np.array([[32, 20, 96, 60]])), [[40, 25, 120, 75]])


def test_stretch_fills_the_input():
    letterbox = Letterbox.fit(640, 480, 416, 416, Resize(rule="stretch"))
    assert (letterbox.inner_width, letterbox.inner_height, letterbox.left, letterbox.top) == (416, 416, 0, 0)
    assert letterbox.boxes(np.array([[320, 240, 640, 480]], np.float32)).tolist() == [[208, 208, 416, 416]]


def test_a_image_of_the_right_size_is_not_resampled():
    image = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    assert (Letterbox.fit(320, 320, 320, 320, RULE).image(image) == image).all()


def test_the_filter_is_opencvs():
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    found = Letterbox.fit(640, 480, 320, 320, RULE).image(image)[40:280]
    assert (found == cv2.resize(image, (320, 240), interpolation=cv2.INTER_LINEAR)).all()


@pytest.mark.parametrize("size", [(640, 480), (320, 240), (31, 97), (1, 1), (960, 720)])
def test_class_maps_come_back_at_source_size(size):
    width, height = size
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :] = 3
    letterbox = Letterbox.fit(width, height, 480, 384, RULE)
    inner = letterbox.class_map(labels, fill=255)
    assert inner.shape == (384, 480)
    assert set(np.unique(inner)) <= {0, 3, 255}
    back = letterbox.source_class_map(inner)
    assert back.shape == (height, width)
    wrong = (back != labels).any(axis=1).sum()
    assert wrong <= np.ceil(1 / letterbox.scale_y)  # rows at the border between the two


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match="0x480"):
        Letterbox.fit(0, 480, 320, 320, RULE)


def test_a_crop_shows_the_middle_at_the_size_of_the_short_side():
    """400x200 for 100x100 with a share of 0.5: the short side becomes 200, and the middle 100 are seen."""
    image = np.zeros((200, 400, 3), np.uint8)
    image[:, :, 0] = np.arange(400) // 2
    image[:, :, 1] = np.arange(200)[:, None]
    rule = Resize(rule="crop", share=0.5)
    letterbox = Letterbox.fit(400, 200, 100, 100, rule)
    assert (letterbox.inner_width, letterbox.inner_height) == (400, 200)
    assert (letterbox.left, letterbox.top) == (-150, -50)
    seen = letterbox.image(image)
    assert np.array_equal(seen, image[50:150, 150:250])
    whole = Letterbox.fit(400, 200, 100, 100, Resize(rule="crop")).image(image)
    assert whole[:, :, 1].min() <= 1
    assert whole[:, :, 1].max() >= 198
    assert abs(int(whole[50, 0, 0]) - 50) <= 1  # the middle half of the long side
    assert abs(int(whole[50, -1, 0]) - 149) <= 1


@given(sides, sides, inputs, st.sampled_from([1.0, 0.875, 0.3]))
def test_a_crop_fills_the_input_whatever_the_image(width, height, size, share):
    letterbox = Letterbox.fit(width, height, *size, Resize(rule="crop", share=share))
    assert letterbox.inner_width + letterbox.left >= size[0]
    assert letterbox.inner_height + letterbox.top >= size[1]
    assert max(letterbox.left, letterbox.top) <= 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (4000, 1), (1, 4000), (2000, 30), (33, 900)])
def test_a_crop_of_a_long_image_costs_no_more_than_what_is_seen(width, height):
    image = np.full((height, width, 3), 9, np.uint8)
    image[height // 3 : height - height // 3, width // 3 : width - width // 3] = 77
    seen = Letterbox.fit(width, height, 224, 224, Resize(rule="crop")).image(image)
    assert seen.shape == (224, 224, 3)
    assert (seen[100:124, 100:124] == 77).all()
