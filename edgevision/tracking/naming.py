"""Names that users give to choose objects: a class, or a class and what a second model says of it.

``person`` is every person, ``person:helmet`` one of which the second model last said helmet, and ``:helmet``
any object of which it said so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from edgevision.errors import nearest

_BETWEEN = ":"


def names_of(class_name: str, attributes: Iterable[str] = ()) -> Iterator[str]:
    """Every name that chooses an object.

    Args:
        class_name: of the object.
        attributes: names of what a second model says of it.

    Example:
        >>> list(names_of("person", ["helmet"]))
        ['person', 'person:helmet', ':helmet']
    """
    yield class_name
    for said in attributes:
        yield f"{class_name}{_BETWEEN}{said}"
        yield f"{_BETWEEN}{said}"


def chooses(names: Collection[str], class_name: str, attributes: Iterable[str] = ()) -> bool:
    """Whether one of ``names`` means an object; see :func:`names_of`."""
    return any(name in names for name in names_of(class_name, attributes))


def may_choose(names: Collection[str], class_name: str) -> bool:
    """Whether one of ``names`` means objects of a class, if the second model says the right thing."""
    starts = (f"{class_name}{_BETWEEN}", _BETWEEN)
    return class_name in names or any(name.startswith(starts) for name in names)


def problem_of(name: str, classes: Collection[str], attributes: Collection[str] = ()) -> str:
    """Why a name can choose nothing, for the end of a message; empty where it can.

    Args:
        name: as the user writes it.
        classes: of the models.
        attributes: classes of the second model; empty where there is none.

    Example:
        >>> problem_of("person:hat", ["person"], ["helmet"])
        "the second model has no class 'hat'; there are: helmet"
    """
    if name in classes:
        return ""
    # A class name may hold the sign too, so every split of the name is tried.
    splits = [(name[:i], name[i + 1 :]) for i, sign in enumerate(name) if sign == _BETWEEN]
    known = [one for one in splits if one[0] == "" or one[0] in classes]
    if any(said in attributes for _, said in known):
        return ""
    if known and attributes:
        said = known[0][1]
        return f"the second model has no class '{said}'{_hint(said, attributes)}"
    if known:
        return f"'{name}' asks what a second model says, and none runs; name one with `then`"
    if name in attributes:
        return f"only the second model has the class '{name}'; write '{_BETWEEN}{name}'"
    first = splits[0][0] if splits else name
    return f"no model has the class '{first}'{_hint(first, classes)}"


def _hint(name: str, known: Collection[str]) -> str:
    return nearest(name, known) or f"; there are: {', '.join(dict.fromkeys(known))}"
