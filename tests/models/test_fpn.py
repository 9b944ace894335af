"""The pyramid's sizes, and what reaches its coarsest and finest maps."""

import pytest
import torch

from edgevision.models.fpn import FeaturePyramid, PathAggregation, PlainAggregation

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


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("pyramid", [PathAggregation, PlainAggregation])
def test_path_aggregation_has_the_same_maps(pyramid, levels):
    maps = pyramid(CHANNELS, 12, levels)(features())
    sides = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
    assert [tuple(x.shape) for x in maps] == [(2, 12, *side) for side in sides[:levels]]
    assert all(float(x.detach().min()) < 0 for x in maps[:3]), "a merged map may be negative"


@pytest.mark.parametrize("pyramid", [PathAggregation, PlainAggregation])
def test_path_aggregation_leads_there_and_back(pyramid):
    torch.manual_seed(0)
    pyramid = pyramid(CHANNELS, 12).eval()
    c3, c4, c5 = features()
    before = pyramid([c3, c4, c5])
    for changed in (pyramid([c3, c4, c5 + 1]), pyramid([c3 + 1, c4, c5])):
        for level in range(4):
            assert not torch.equal(changed[level], before[level]), level


def test_the_plain_pyramid_is_of_dense_convolutions_and_sums():
    pyramid = PlainAggregation(CHANNELS, 12)
    convolutions = [module for module in pyramid.modules() if isinstance(module, torch.nn.Conv2d)]
    assert {convolution.groups for convolution in convolutions} == {1}
    assert max(convolution.in_channels for convolution in convolutions[len(CHANNELS) :]) == 12, (
        "none concatenated"
    )
