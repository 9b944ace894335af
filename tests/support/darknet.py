"""A small network of Darknet with every layer that is known, and weights for it; needs numpy only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.models.yolo_v3.cfg import Convolutional, Plan, parse_cfg

WIDTH, HEIGHT = 96, 64
CFG = f"""
# A network of all layers, for tests.
[net]
batch=64
width={WIDTH}
height={HEIGHT}
channels=3
learning_rate=0.001   ; of a training, passed over

[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
pad=1
activation=leaky

[shortcut]
from=-3
activation=linear

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=16
size=3
pad=1
groups=2
activation=leaky

[route]
layers=-1
groups=2
group_id=1

[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=mish

[route]
layers=-1,-3

[maxpool]
size=2
stride=2

[maxpool]
size=2
stride=1

[maxpool]
size=5
stride=1

[convolutional]
batch_normalize=1
filters=24
size=3
pad=1
activation=leaky

[convolutional]
filters=21
size=1
activation=linear

[yolo]
mask=3,4,5
anchors=8,9, 14,12, 10,22, 30,26, 24,44, 60,50
classes=2
num=6
ignore_thresh=.7

[route]
layers=-3

[convolutional]
batch_normalize=1
filters=8
size=1
activation=leaky

[upsample]
stride=2

[route]
layers=-1,9

[convolutional]
batch_normalize=1
filters=16
size=3
pad=1
activation=swish

[convolutional]
filters=21
size=1
activation=linear

[yolo]
mask=0,1,2
anchors=8,9, 14,12, 10,22, 30,26, 24,44, 60,50
classes=2
num=6
scale_x_y=1.05
"""


def plan() -> Plan:
    """The network of :data:`CFG`."""
    return parse_cfg(CFG)


def weights(of: Plan, seed: int = 0) -> NDArray[np.float32]:
    """Random numbers for all layers, in the order of a file, which keep the values of maps near 1."""
    rng = np.random.default_rng(seed)
    parts: list[NDArray[np.float64]] = []
    for layer in of.layers:
        if isinstance(layer, Convolutional):
            parts.append(rng.normal(0, 0.2, layer.filters))
            if layer.batch_normalize:
                parts += [rng.uniform(0.5, 1.5, layer.filters), rng.normal(0, 0.2, layer.filters)]
                parts.append(rng.uniform(0.5, 1.5, layer.filters))
            inputs = layer.inputs // layer.groups * layer.size**2
            spread = (2 / inputs) ** 0.5 * (1 if layer.batch_normalize else 0.3)
            parts.append(rng.normal(0, spread, layer.filters * inputs))
    return np.concatenate(parts).astype("<f4")


def write_weights(path: Path, numbers: NDArray[np.float32], version: tuple[int, int] = (0, 2)) -> Path:
    """Writes a ``.weights`` whose header is that of a version: images seen are 64 bits from 0.2 on."""
    seen = np.array([12800], "<i8" if version[0] * 10 + version[1] >= 2 else "<i4")
    header = np.array([*version, 0], "<i4").tobytes() + seen.tobytes()
    path.write_bytes(header + numbers.astype("<f4").tobytes())
    return path


def image(seed: int = 1) -> NDArray[np.float32]:
    """One image ``[1, 3, H, W]``, 0 to 1, soft enough to differ from noise."""
    small = np.random.default_rng(seed).random((1, 3, HEIGHT // 8, WIDTH // 8))
    return small.repeat(8, axis=2).repeat(8, axis=3).astype(np.float32)
