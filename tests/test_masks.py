import numpy as np
import pytest

from edgevision.masks import InstanceMasks

pycoco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")


def masks(*crops, origins, size=(6, 9)):
    return InstanceMasks(tuple(np.array(crop, bool) for crop in crops), np.array(origins), size)


def test_a_mask_lies_where_its_origin_says():
    whole = masks([[1, 0], [1, 1]], origins=[[3, 2]]).whole(0)
    assert whole.shape == (6, 9)
    assert np.argwhere(whole).tolist() == [[2, 3], [3, 3], [3, 4]]


def test_rows_are_chosen_and_joined():
    three = masks([[1]], [[1, 1]], [[1], [1], [1]], origins=[[0, 0], [1, 1], [2, 2]])
    assert three[np.array([True, False, True])].areas().tolist() == [1, 3]
    assert three[[2, 0]].origins.tolist() == [[2, 2], [0, 0]]
    assert len(three[:0]) == 0
    joined = InstanceMasks.join([three[:1], InstanceMasks.absent(2, (6, 9))])
    assert joined.areas().tolist() == [1, 0, 0]
    assert not joined.whole(1).any()


@pytest.mark.parametrize(
    ("crop", "origin"),
    [
        (np.ones((3, 4)), (2, 1)),  # in the middle
        (np.ones((6, 9)), (0, 0)),  # everything: the first run is empty, and none follows
        (np.ones((6, 3)), (4, 0)),  # whole columns are one run
        (np.zeros((2, 2)), (1, 1)),
        (np.zeros((0, 0)), (0, 0)),
        (np.eye(6), (3, 0)),
        (np.ones((2, 2)), (7, 4)),  # the last pixel
    ],
)
def test_run_lengths_are_those_of_pycocotools(crop, origin):
    one = masks(crop, origins=[origin])
    expected = pycoco.encode(np.asfortranarray(one.whole(0).astype(np.uint8)))
    assert one.rle(0) == expected["counts"].decode()


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_of_noise_and_of_large_areas(seed):
    rng = np.random.default_rng(seed)
    crop = np.kron(rng.random((7, 9)) < 0.6, np.ones((1 + 40 * seed, 3 + 20 * seed))) > 0
    size = (crop.shape[0] + 500, crop.shape[1] + 300)
    one = InstanceMasks((crop,), [[100, 200]], size)
    expected = pycoco.encode(np.asfortranarray(one.whole(0).astype(np.uint8)))
    assert one.rle(0) == expected["counts"].decode()


@pytest.mark.parametrize(
    ("crop", "origins", "message"),
    [
        (np.ones((2, 2), np.uint8), [[0, 0]], "bool"),
        (np.ones(4, bool), [[0, 0]], "bool"),
        (np.ones((2, 2), bool), [[8, 0]], "not inside 9x6"),
        (np.ones((2, 2), bool), [[0, -1]], "not inside"),
        (np.ones((2, 2), bool), [[0, 0], [1, 1]], "1 crops with 2 origins"),
    ],
)
def test_what_is_no_mask_is_refused(crop, origins, message):
    with pytest.raises(ValueError, match=message):
        InstanceMasks((crop,), origins, (6, 9))


def test_masks_of_two_images_are_not_joined():
    with pytest.raises(ValueError, match="one image"):
        InstanceMasks.join([InstanceMasks.absent(1, (6, 9)), InstanceMasks.absent(1, (9, 6))])
