import inspect

import pytest

from edgevision import errors
from edgevision.errors import EdgeVisionError, nearest


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("persn", ["person", "car"], "; did you mean 'person'?"),
        ("CAR", ["person", "car"], "; did you mean 'car'?"),
        ("Retinanet", ["RetinaNet-Light", "unet"], "; did you mean 'RetinaNet-Light'?"),
        ("xyzzy", ["person", "car"], ""),
        ("anything", [], ""),
        ("", ["person"], ""),
    ],
)
def test_nearest_names_what_was_probably_meant(name, known, expected):
    assert nearest(name, known) == expected


def test_nearest_names_no_more_than_asked_for():
    hint = nearest("car", ["car1", "car2", "car3", "car4"], limit=2)
    assert hint.count("'car") == 2


def test_every_error_is_in_one_tree_and_says_how_to_exit():
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert issubclass(kind, EdgeVisionError)
        assert kind.exit_code in (1, 2)
        assert kind.__doc__


def test_impossible_requests_exit_with_2_and_failures_with_1():
    assert errors.UsageError.exit_code == errors.ConfigError.exit_code == 2
    assert errors.OutputExistsError.exit_code == 2
    assert errors.SourceError.exit_code == errors.ModelError.exit_code == errors.SinkError.exit_code == 1
