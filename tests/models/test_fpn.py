"""The pyramid's sizes, and what reaches its coarsest and finest maps."""

import torch

from edgevision.models.fpn import FeaturePyramid

CHANNELS = (8, 16, 32)


def features(height=64, width=96):
    return [
        torch.rand(2, channels, height // stride, width // stride)
        for channels, stride in zip(CHANNELS, (8, 16, 32), strict=True)
    ]


def test_five_maps_of_equal_channels_at_strides_8_to_128():
    maps = FeaturePyramid(CHANNELS, 12)(features())
    assert [tuple(x.shape) for x in maps] == [
        (2, 12, 8, 12), (2, 12, 4, 6), (2, 12, 2, 3), (2, 12, 1, 2), (2, 12, 1, 1)
    ]  # fmt: skip


def test_the_finest_map_sees_the_coarsest_feature_and_not_the_other_way_round():
    torch.manual_seed(0)
    pyramid = FeaturePyramid(CHANNELS, 12).eval()
    c3, c4, c5 = features()
    before = pyramid([c3, c4, c5])
    coarse, fine = pyramid([c3, c4, c5 + 1]), pyramid([c3 + 1, c4, c5])
    assert not torch.allclose(coarse[0], before[0])
    assert not torch.allclose(fine[0], before[0])
    for level in range(1, 5):
        assert torch.equal(fine[level], before[level])
