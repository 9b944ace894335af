"""Configuration from YAML files: frozen, complete and typed; an unknown key is an error."""

from __future__ import annotations

import datetime
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from edgevision.address import Address
from edgevision.errors import ConfigError, nearest

T = TypeVar("T", bound=msgspec.Struct)


class _UniqueKeys(yaml.constructor.BaseConstructor):
    """Refuses a key that is written twice, of which YAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    name = f"'{key.value}'" if key.value.isidentifier() or key.value.isdecimal() else "a key"
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{name} is written twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class UniqueLoader(_UniqueKeys, yaml.SafeLoader):
    """YAML with values of its types, each key once."""


class UniqueTextLoader(_UniqueKeys, yaml.BaseLoader):
    """YAML with every value as it is written (1.1 takes yes, off, 010 and null for others), each key once."""


def load_config(path: str | os.PathLike[str], kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Reads a YAML file into a frozen structure.

    Args:
        path: the YAML file.
        kind: a ``msgspec.Struct`` class; every key of the file must be one of its fields.
        overrides: a dotted key and a YAML value each, such as ``"train.epochs=3"``, applied over the file.

    Raises:
        ConfigError: the file is missing or not valid YAML; a key is unknown (the message names the nearest
            valid one) or missing; or a value has the wrong type.
    """
    return build_config(read_document(path, overrides), kind, str(path))


def read_document(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain values of a YAML file with ``overrides`` applied; see :func:`load_config`."""
    path = Path(path)
    try:
        document = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=UniqueLoader)
    except FileNotFoundError as error:
        raise ConfigError(f"configuration file not found: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read configuration {path}: {error}") from error
    except yaml.YAMLError as error:
        # Without the line itself, and not chained: it may hold the address of a camera with its password.
        raise ConfigError(f"{path} is not valid YAML: {_yaml_problem(error)}") from None
    except (ValueError, RecursionError) as error:  # a date such as 2020-13-40, or lists thousands deep
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        found = (
            "nothing" if document is None else "a list" if isinstance(document, list) else "a single value"
        )
        raise ConfigError(f"{path}: expected keys and values, found {found}")
    for override in overrides:
        apply_override(document, override)
    return document


def _yaml_problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    mark = getattr(error, "problem_mark", None)
    return f"{problem}" + ("" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}")


def config_folder() -> Path:
    """The folder of the configurations that ship with edgevision: ``models/*.yaml``, ``devices/*.yaml``.

    A wheel holds it inside the package, a checkout beside the package.

    Raises:
        ConfigError: the folder does not exist, so the installation is damaged.
    """
    package = Path(str(resources.files("edgevision")))
    places = (package / "configs", package.parent / "configs")
    for place in places:
        if place.is_dir():
            return place
    looked = " or ".join(str(place) for place in places)
    raise ConfigError(f"no configuration folder at {looked}; reinstall edgevision")


def build_config(document: dict[str, Any], kind: type[T], origin: str) -> T:
    """A frozen structure from plain values; the errors of :func:`load_config`, all faults in one message."""
    faults = config_faults(document, kind)
    if faults:
        raise faulty(origin, faults)
    return msgspec.convert(document, kind, strict=True)


def config_faults(document: dict[str, Any], kind: type[msgspec.Struct]) -> list[str]:
    """All that is wrong with plain values as a structure: unknown and missing keys, types and values."""
    info = msgspec.inspect.type_info(kind)
    faults = list(_key_faults(document, info, ()))
    problem = next(_not_finite(document, ()), "") or _refusal(document, kind)
    if problem:  # msgspec stops at the first; people mend a file once
        faults += [fault for fault in _value_faults(document, info, ()) if fault not in faults]
        faults = faults or [problem]
    return faults


def faulty(origin: str, faults: Sequence[str]) -> ConfigError:
    """The error of a file with these faults, in one line."""
    count = f"{len(faults)} faults: " if len(faults) > 1 else ""
    return ConfigError(f"{origin}: {count}{'; '.join(faults)}")


def _refusal(value: Any, kind: type[msgspec.Struct]) -> str:
    """What msgspec says of a value; empty where it is one of this kind."""
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        return _plain(str(error))
    return ""


def _not_finite(value: Any, at: tuple[str, ...]) -> Iterator[str]:
    """Every NaN and infinity: msgspec takes them for numbers, and no setting has a meaning for them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(inner, (*at, str(key)))
    elif isinstance(value, _SEQUENCES):
        for position, inner in enumerate(value):
            yield from _not_finite(inner, (*at, f"[{position}]"))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"`{_place(at)}` is {value}; expected a finite number"


_SEQUENCES = (list, tuple)
"""A list as YAML has it, and as a structure gives it back."""

_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "keys and values",
    "null": "empty",
}
_SHOWN = 80  # letters of an override in a message


def _plain(message: str) -> str:
    """msgspec's message about a wrong value, in the terms of YAML."""
    wrong = re.fullmatch(r"Expected `(.+)`, got `(.+?)`(?: - at `\$\.?(.+)`)?", message)
    if wrong is not None:
        expected = " or ".join(_WORDS.get(kind, kind) for kind in wrong[1].split(" | ") if kind != "null")
        return f"`{wrong[3] or 'file'}` is {_WORDS.get(wrong[2], wrong[2])}; expected {expected}"
    missing = re.fullmatch(r"Object missing required field `(.+?)`(?: - at `\$\.?(.+)`)?", message)
    if missing is not None:
        return f"missing required field `{missing[1]}`" + (f" in `{missing[2]}`" if missing[2] else "")
    return message.replace("`$.", "`")


def apply_override(document: dict[str, Any], override: str) -> None:
    """Sets one value by its dotted key: ``loop.images=3000``; raises ConfigError where that is impossible."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}': expected KEY=VALUE, for example optimiser.lr=0.001")
    *parents, last = key.split(".")
    place = document
    for parent in parents:
        child = place.setdefault(parent, {})
        if not isinstance(child, dict):
            found = "a list, which can only be replaced as a whole" if isinstance(child, list) else "a value"
            raise ConfigError(f"'{key}': {parent} is {found}, not a group of keys")
        place = child
    try:
        place[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        shown = override if len(override) <= _SHOWN else f"{override[:_SHOWN]}..."
        raise ConfigError(f"'{shown}': the value is not valid YAML") from error


def _key_faults(value: Any, info: Any, at: tuple[str, ...]) -> Iterator[str]:
    """Walks values and types together: msgspec names an unknown key, but not the nearest valid one."""
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    if isinstance(value, _SEQUENCES):
        items = [option.item_type for option in options if hasattr(option, "item_type")]
        for item in items:
            for position, element in enumerate(value):
                yield from _key_faults(element, item, (*at, str(position)))
    yield from _choice_faults(value, options, at)
    structs = [option for option in options if isinstance(option, msgspec.inspect.StructType)]
    if not isinstance(value, dict) or not structs:
        return
    structs = _meant(value, structs)
    if not structs:  # which one is wrong has been said, and its keys are not known
        return
    fields = {field.encode_name: field.type for struct in structs for field in struct.fields}
    tags = {struct.tag_field for struct in structs}
    for key in value:
        if key not in fields and key not in tags:
            where = ".".join((*at, Address.parse(str(key)).shown))
            hint = nearest(str(key), fields) or f"; known keys: {', '.join(sorted(fields))}"
            yield f"unknown key '{where}'{hint}"
    for key, inner in fields.items():
        if key in value:
            yield from _key_faults(value[key], inner, (*at, key))


def _value_faults(value: Any, info: Any, at: tuple[str, ...]) -> Iterator[str]:
    """Every missing field, wrong type, and value that a structure refuses, by msgspec's own words."""
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    structs = [option for option in options if isinstance(option, msgspec.inspect.StructType)]
    lists = [option for option in options if isinstance(option, _LISTS)]
    if isinstance(value, _SEQUENCES) and len(lists) == 1:
        yield from _list_faults(value, lists[0], at)
        return
    if not isinstance(value, dict) or not structs:
        if not any(_fits(value, option) for option in options):
            yield _wrong_type(value, options, at)
        elif isinstance(value, dict):
            for option in options:
                if isinstance(option, msgspec.inspect.DictType):
                    for key, inner in value.items():
                        yield from _value_faults(inner, option.value_type, (*at, str(key)))
        else:
            yield from _range_faults(value, options, at)
        return
    struct = next(iter(_meant(value, structs)), None)
    if struct is None:
        return
    found = False
    for field in struct.fields:
        if field.encode_name in value:
            for fault in _value_faults(value[field.encode_name], field.type, (*at, field.encode_name)):
                found = True
                yield fault
        elif field.required:
            found = True
            yield f"missing required field `{field.encode_name}`" + (f" in `{_place(at)}`" if at else "")
    if not found:  # what is left is what the structure checks itself
        own = {
            key: inner for key, inner in value.items() if key in {one.encode_name for one in struct.fields}
        }
        if struct.tag_field:
            own[struct.tag_field] = struct.tag
        try:
            msgspec.convert(own, struct.cls, strict=True)
        except msgspec.ValidationError as error:
            text, deeper, _ = str(error).partition(" - at `$")
            if not deeper:  # what is wrong below has been said there
                yield (f"`{_place(at)}`: " if at else "") + _plain(text)


_LISTS = (msgspec.inspect.ListType, msgspec.inspect.VarTupleType, msgspec.inspect.TupleType)
_NUMBERS = (msgspec.inspect.IntType, msgspec.inspect.FloatType)


def _list_faults(value: Sequence[Any], info: Any, at: tuple[str, ...]) -> Iterator[str]:
    """A wrong length, or the faults of the elements."""
    if isinstance(info, msgspec.inspect.TupleType):
        kinds: Sequence[Any] = info.item_types
        least = most = len(kinds)
    else:
        kinds, least, most = [info.item_type] * len(value), info.min_length or 0, info.max_length
    if len(value) < least or (most is not None and len(value) > most):
        wanted = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        yield f"`{_place(at)}` is a list of {len(value)}; expected {wanted}"
        return
    for position, (element, kind) in enumerate(zip(value, kinds, strict=True)):
        yield from _value_faults(element, kind, (*at, f"[{position}]"))


def _range_faults(value: Any, options: Sequence[Any], at: tuple[str, ...]) -> Iterator[str]:
    """A number outside what its type allows (:mod:`edgevision.bounds`), NaN or infinite."""
    numbers = [option for option in options if isinstance(option, _NUMBERS) and _fits(value, option)]
    if numbers and not any(_is_within(value, number) for number in numbers):
        finite = "" if _is_finite(value) else "finite "
        yield f"`{_place(at)}` is {value}; expected {_range_in_words(numbers[0], finite)}"


def _is_finite(value: float) -> bool:
    return abs(value) <= sys.float_info.max  # which a whole number may exceed


def _is_within(value: float, number: Any) -> bool:
    return (
        (isinstance(number, msgspec.inspect.IntType) or _is_finite(value))
        and (number.ge is None or value >= number.ge)
        and (number.gt is None or value > number.gt)
        and (number.le is None or value <= number.le)
        and (number.lt is None or value < number.lt)
        and (number.multiple_of is None or value % number.multiple_of == 0)
    )


def _range_in_words(number: Any, finite: str) -> str:
    """``a number from 0 to 1``, ``a whole number of at least 1``; ``finite`` stands before the noun."""
    noun = "whole number" if isinstance(number, msgspec.inspect.IntType) else "number"
    if number.multiple_of is not None:
        noun = f"multiple of {number.multiple_of}"
    if number.ge is not None and number.le is not None:
        return f"a {finite}{noun} from {number.ge} to {number.le}"
    bounds = {"of at least": number.ge, "above": number.gt, "of at most": number.le, "below": number.lt}
    words = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    return f"a {finite}{noun} {words}".rstrip()


def _meant(
    value: dict[str, Any], structs: list[msgspec.inspect.StructType]
) -> list[msgspec.inspect.StructType]:
    """Those of several structures that a value can be: the one of its tag, none of an unknown tag, or all."""
    field = structs[0].tag_field
    if field is None or field not in value:
        return structs
    return [one for one in structs if one.tag == value[field]]


def _fits(value: Any, option: Any) -> bool:
    """Whether a plain value can be one of a type; True for types that are not known here."""
    name = type(option).__name__
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    known = {
        "IntType": is_number and isinstance(value, int),
        "FloatType": is_number,
        "StrType": isinstance(value, str),
        "BoolType": isinstance(value, bool),
        "NoneType": value is None,
        "StructType": isinstance(value, dict),
        "DictType": isinstance(value, dict),
        "ListType": isinstance(value, _SEQUENCES),
        "VarTupleType": isinstance(value, _SEQUENCES),
        "TupleType": isinstance(value, _SEQUENCES),
    }
    return known.get(name, True)


_KINDS = {
    "IntType": "a whole number", "FloatType": "a number", "StrType": "text", "BoolType": "true or false",
    "StructType": "keys and values", "DictType": "keys and values", "ListType": "a list",
    "VarTupleType": "a list", "TupleType": "a list",
}  # fmt: skip


_UNQUOTED: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime.date: "a date",
    datetime.datetime: "a date with a time",
}
"""What YAML takes text for that is not in quotes, such as yes, 010 and 2024-01-01."""


def _place(at: tuple[str, ...]) -> str:
    """A path as msgspec writes it: ``layers[0].width``."""
    return ".".join(at).replace(".[", "[")


def _wrong_type(value: Any, options: Sequence[Any], at: tuple[str, ...]) -> str:
    found = {**_UNQUOTED, str: "text", list: "a list", bytes: "binary data", set: "a set"}
    words = dict.fromkeys(_KINDS[name] for one in options if (name := type(one).__name__) in _KINDS)
    number = next((one for one in options if isinstance(one, _NUMBERS)), None)
    if number is not None and isinstance(value, str) and value.strip().lower().lstrip("+-") in _ENDLESS:
        return f"`{_place(at) or 'file'}` is {value}; expected {_range_in_words(number, 'finite ')}"
    shown = "empty" if value is None else found.get(type(value), "keys and values")
    quotes = ", in quotes" if "text" in words and type(value) in _UNQUOTED else ""
    return f"`{_place(at) or 'file'}` is {shown}; expected {' or '.join(words)}{quotes}"


_ENDLESS = ("nan", "inf", "infinity")
"""What people write for no finite number; to YAML, which has .nan and .inf for them, they are text."""

_CHOICES = (msgspec.inspect.EnumType, msgspec.inspect.LiteralType)


def _choice_faults(value: Any, options: Sequence[Any], at: tuple[str, ...]) -> Iterator[str]:
    """msgspec reports that a text or number is not one of the choices, but does not list them."""
    if isinstance(value, (str, int, float)):
        choices, place = [one for option in options for one in _choices(option)], at
        others = [option for option in options if not isinstance(option, _CHOICES)]
        wrong = not any(_fits(value, option) for option in others) and not any(
            type(one) is type(value) and one == value for one in choices
        )
    else:
        structs = [option for option in options if isinstance(option, msgspec.inspect.StructType)]
        field = structs[0].tag_field if structs else None
        if field is None or not isinstance(value, dict) or field not in value:
            return
        value, choices, place = value[field], [struct.tag for struct in structs], (*at, field)
        wrong = value not in choices
    if choices and wrong:
        listed = ", ".join(str(choice) for choice in choices)
        is_number = isinstance(value, (int, float))
        if any(hasattr(option, "item_type") or hasattr(option, "item_types") for option in options):
            listed += "; or a list"
        found = _UNQUOTED[bool] if isinstance(value, bool) else f"{value}" if is_number else f"'{value}'"
        hint = "" if is_number else nearest(str(value), map(str, choices))
        yield f"`{'.'.join(place)}` is {found}; expected one of: {listed}{hint}"


def _choices(option: Any) -> list[Any]:
    if isinstance(option, msgspec.inspect.EnumType):
        return [member.value for member in option.cls]
    return list(getattr(option, "values", ()))
