import pytest

from tests.support.models import write_colour_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model file; the engine of these tests looks at its manifest only."""
    return write_colour_model(tmp_path_factory.mktemp("model") / "colours.onnx")
