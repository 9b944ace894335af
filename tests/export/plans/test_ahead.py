"""Plans for another GPU: what TensorRT for RTX is asked for, on a stand-in for its module."""

from types import SimpleNamespace

import pytest

from edgevision.errors import EngineError
from edgevision.export.plans.ahead import build_for


class Config:
    """Keeps what was set; refuses a second capability."""

    num_compute_capabilities = 0

    def __init__(self):
        self.set = []

    def set_compute_capability(self, capability, index):
        self.set.append((capability, index))
        return index < self.num_compute_capabilities


def library(**capabilities):
    return SimpleNamespace(__version__="1.7.1", ComputeCapability=SimpleNamespace(**capabilities))


def test_one_capability_is_set():
    config = Config()
    build_for(library(SM89="ada", SM120="blackwell"), config, "12.0")
    assert config.set == [("blackwell", 0)]
    assert config.num_compute_capabilities == 1


def test_an_unknown_capability_is_refused_with_the_version():
    with pytest.raises(EngineError, match=r"RTX 1\.7\.1 cannot build for compute capability 13\.0"):
        build_for(library(SM89="ada"), Config(), "13.0")
