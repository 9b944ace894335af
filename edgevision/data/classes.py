"""Class names: the lists of PASCAL VOC and COCO, and what other data sets call the same things."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from edgevision.contract.class_names import canonical, plain
from edgevision.errors import DataError, UsageError, nearest

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase",
    "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 of COCO's detection task, in its order."""

_LISTS = {"voc": VOC_CLASSES, "coco": COCO_CLASSES}


def map_classes(found: Iterable[str], wanted: Iterable[str]) -> dict[str, int]:
    """Index into ``wanted`` for each name of ``found`` that means the same class; others are left out.

    Equal names come first, then names that differ in case, ``-`` or ``_``, then aliases: a spelling only
    bridges a name that is absent, so that what one set tells apart is never merged.

    Raises:
        DataError: two names of one side could both be one name of the other.

    Example:
        >>> map_classes(["pedestrian", "people", "Car"], ["people", "pedestrian", "car"])
        {'pedestrian': 1, 'people': 0, 'Car': 2}
        >>> map_classes(["bike", "bicycle"], ["bicycle"])
        {'bicycle': 0}
    """
    own, targets = list(dict.fromkeys(found)), list(wanted)
    index: dict[str, int] = {}
    for spelling in (str, plain, canonical):
        taken = set(index.values())
        places, names = defaultdict(list), defaultdict(list)
        for place, target in enumerate(targets):
            if place not in taken:
                places[spelling(target)].append(place)
        for name in own:
            if name not in index and spelling(name) in places:
                names[spelling(name)].append(name)
        for key, meeting in names.items():
            if len(meeting) > 1 or len(places[key]) > 1:
                _refuse_meeting(meeting, [targets[place] for place in places[key]])
            index[meeting[0]] = places[key][0]
    return {name: index[name] for name in own if name in index}


def _refuse_meeting(found: list[str], wanted: list[str]) -> NoReturn:
    several, one = (found, wanted[0]) if len(found) > 1 else (wanted, found[0])
    raise DataError(
        f"the classes {' and '.join(repr(name) for name in several)} could both be '{one}', and are told "
        f"apart; expected equal names: call '{one}' what it is"
    )


@dataclass(frozen=True, slots=True)
class ClassGroups:
    """Classes that count as one, so that a model and a data set of unlike classes can be compared.

    A name that the user gives means the class of that name; an alias of it only where there is no such
    class, as in :func:`map_classes`.

    Attributes:
        members: for each class, as the user writes it, the group that it belongs to.
        rest: the group of every class that is not named; None leaves those as they are.

    Example:
        >>> groups = parse_groups(["road=road,mark", "background=*"])
        >>> groups.mapping(("road", "mark", "sky"))
        {'road': 'road', 'mark': 'road', 'sky': 'background'}
    """

    members: tuple[tuple[str, str], ...] = ()
    rest: str | None = None

    def mapping(self, class_names: Iterable[str]) -> dict[str, str]:
        """For each class of one model or one data set its group, or itself where it is in none.

        Raises:
            DataError: a name that the user gives could mean two of these classes, or a group has the name of
                a class that is not in it.
        """
        own = list(class_names)
        index = map_classes(own, (name for name, _ in self.members))
        group_of = {
            one: self.members[index[one]][1] if one in index else self.rest or one
            for one in dict.fromkeys(own)
        }
        names = [group for _, group in self.members] + ([] if self.rest is None else [self.rest])
        for one, group in group_of.items():
            is_grouped = one in index or self.rest is not None
            namesake = next((name for name in names if plain(name) == plain(one)), None)
            if namesake is not None and not (is_grouped and group == namesake):
                raise DataError(
                    f"the group '{namesake}' has the name of the class '{one}', which is not in it; expected "
                    "the class in it, or another name"
                )
        return group_of

    def require_known(self, *sides: Iterable[str]) -> None:
        """Refuses a name that means a class of none of these models and data sets.

        Raises:
            DataError: there is one, or a name could mean two classes of one side.
        """
        names = [name for name, _ in self.members]
        found = [list(side) for side in sides]
        known = {place for side in found for place in map_classes(side, names).values()}
        for place, (name, group) in enumerate(self.members):
            if place not in known:
                classes = list(dict.fromkeys(one for side in found for one in side))
                hint = nearest(name, classes) or f"; expected some of {', '.join(classes)}"
                raise DataError(f"'{name}' in the group '{group}' is no class here{hint}")

    def refuse_members(self, wanted: Iterable[str], *sides: Iterable[str]) -> None:
        """Refuses a class that counts as its group and is wanted by its own name.

        Args:
            wanted: the names.
            sides: the classes of each model.

        Raises:
            UsageError: there is one.
            DataError: as of :meth:`mapping`.
        """
        group_of = {plain(one): group for one, group in self.members}
        for side in sides:
            group_of |= {plain(one): group for one, group in self.mapping(side).items()}
        groups = {plain(group) for group in group_of.values()}
        for name in wanted:
            if plain(name) in group_of and plain(name) not in groups:
                group = group_of[plain(name)]
                raise UsageError(
                    f"the class '{name}' is in the group '{group}' (`group`) and has no figures of its own; "
                    f"give `classes` '{group}', or leave it out of the group"
                )

    def names(self, class_names: Iterable[str]) -> tuple[str, ...]:
        """The groups of the classes of one model or data set, each once, in the order in which they occur."""
        return tuple(dict.fromkeys(self.mapping(class_names).values()))


NO_GROUPS = ClassGroups()


def parse_groups(texts: Sequence[str]) -> ClassGroups:
    """Groups of classes from what a user gives.

    Args:
        texts: each ``GROUP=CLASS,CLASS``; ``GROUP=*`` takes every class that no other group has.

    Raises:
        UsageError: one is of another form, or a class is in two groups.
    """
    members: dict[str, str] = {}
    rest: str | None = None
    for text in texts:
        group, _, listed = text.partition("=")
        group, names = group.strip(), [name.strip() for name in listed.split(",")]
        if not group or not all(names):
            raise UsageError(f"'{text}' is not a group of classes; expected GROUP=CLASS,CLASS or GROUP=*")
        if "*" in names and len(names) > 1:
            raise UsageError(f"'{text}': '*' takes every other class and stands alone: {group}=*")
        alike = next((one for one in (*members.values(), rest) if one and plain(one) == plain(group)), group)
        if alike != group:
            raise UsageError(f"the groups '{alike}' and '{group}' differ in spelling only; expected one name")
        if names == ["*"]:
            if rest is not None:
                raise UsageError(
                    f"the groups '{rest}' and '{group}' both take every other class; expected one"
                )
            rest = group
            continue
        for name in names:
            known = members.setdefault(name, group)
            if known != group:
                raise UsageError(
                    f"the class '{name}' is in two groups, '{known}' and '{group}'; expected one"
                )
    return ClassGroups(tuple(members.items()), rest)


def parse_classes(text: str) -> tuple[str, ...]:
    """Class names from what a user gives.

    Args:
        text: ``voc``, ``coco``, a file with one name a line, or names with commas between.

    Raises:
        UsageError: there is no name in it, or one is given twice.
        DataError: the file cannot be read.
    """
    if text.strip().lower() in _LISTS:
        return _LISTS[text.strip().lower()]
    path = Path(text)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a text file of class names ({error})") from error
    elif "," not in text and path.suffix == ".txt":
        raise DataError(f"file of class names not found: {path}")
    else:
        lines = text.split(",")
    names = tuple(filter(None, (line.strip() for line in lines)))
    if not names:
        raise UsageError(
            f"no class name in '{text}'; expected voc, coco, a file of names, or names: person,car"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{text}: the class '{twice}' is given twice")
    return names
