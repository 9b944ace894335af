"""Names that choose objects by their class and by what a second model says of them."""

import pytest

from edgevision.tracking.naming import chooses, may_choose, names_of, problem_of

CLASSES, ATTRIBUTES = ["person", "car"], ["helmet", "vest"]


def test_the_names_of_an_object():
    assert list(names_of("person")) == ["person"]
    assert list(names_of("person", ["a", "b"])) == ["person", "person:a", ":a", "person:b", ":b"]


@pytest.mark.parametrize(
    ("names", "class_name", "attributes", "is_chosen"),
    [
        (["person"], "person", [], True),
        (["person"], "car", ["person"], False),  # a class is not what a second model says
        (["person:helmet"], "person", [], False),
        (["person:helmet"], "person", ["vest", "helmet"], True),
        (["person:helmet"], "car", ["helmet"], False),
        ([":helmet"], "car", ["helmet"], True),
        (["person:helmet", "car"], "car", [], True),
    ],
)
def test_what_is_chosen(names, class_name, attributes, is_chosen):
    assert chooses(names, class_name, attributes) is is_chosen
    assert may_choose(names, class_name) or not is_chosen


def test_what_could_be_chosen_later():
    assert may_choose(["person:helmet"], "person")
    assert may_choose([":helmet"], "car")
    assert not may_choose(["person:helmet", "person"], "car")


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("person", [], ""),
        ("person:helmet", ATTRIBUTES, ""),
        (":vest", ATTRIBUTES, ""),
        ("persn", ATTRIBUTES, "no model has the class 'persn'; did you mean 'person'?"),
        ("dog:helmet", ATTRIBUTES, "no model has the class 'dog'; there are: person, car"),
        ("person:hat", ATTRIBUTES, "the second model has no class 'hat'; there are: helmet, vest"),
        ("person:helmet", [], "asks what a second model says, and none runs; name one with `then`"),
        ("helmet", ATTRIBUTES, "only the second model has the class 'helmet'; write ':helmet'"),
    ],
)
def test_a_name_that_can_choose_nothing_is_told(name, attributes, message):
    found = problem_of(name, CLASSES, attributes)
    assert message in found
    assert bool(found) == bool(message)


def test_a_class_may_hold_the_sign_itself():
    assert problem_of("sign: stop", ["sign: stop"]) == ""
    assert problem_of("sign: stop:dirty", ["sign: stop"], ["dirty"]) == ""
    assert chooses(["sign: stop:dirty"], "sign: stop", ["dirty"])
