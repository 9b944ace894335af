"""Configuration from YAML files: frozen, complete and typed; an unknown key is an error."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from edgevision.address import Address
from edgevision.errors import ConfigError, nearest

T = TypeVar("T", bound=msgspec.Struct)


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
        document = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
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
        _apply(document, override)
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
    """A frozen structure from plain values; raises the errors of :func:`load_config`."""
    _refuse_unknown_keys(document, msgspec.inspect.type_info(kind), origin, ())
    try:
        return msgspec.convert(document, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {_plain(str(error))}") from error


_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "keys and values",
    "null": "empty",
}


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


def _apply(document: dict[str, Any], override: str) -> None:
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
        raise ConfigError(f"'{override}': the value is not valid YAML") from error


def _refuse_unknown_keys(value: Any, info: Any, origin: str, at: tuple[str, ...]) -> None:
    """Walks values and types together: msgspec names an unknown key, but not the nearest valid one."""
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    if isinstance(value, list):
        items = [option.item_type for option in options if hasattr(option, "item_type")]
        for item in items:
            for position, element in enumerate(value):
                _refuse_unknown_keys(element, item, origin, (*at, str(position)))
    _refuse_unknown_choice(value, options, origin, at)
    structs = [option for option in options if isinstance(option, msgspec.inspect.StructType)]
    if not isinstance(value, dict) or not structs:
        return
    fields = {field.encode_name: field.type for struct in structs for field in struct.fields}
    tags = {struct.tag_field for struct in structs}
    for key in value:
        if key not in fields and key not in tags:
            where = ".".join((*at, Address.parse(str(key)).shown))
            hint = nearest(str(key), fields) or f"; known keys: {', '.join(sorted(fields))}"
            raise ConfigError(f"{origin}: unknown key '{where}'{hint}")
    for key, inner in fields.items():
        if key in value:
            _refuse_unknown_keys(value[key], inner, origin, (*at, key))


_TEXT = (msgspec.inspect.StrType, msgspec.inspect.AnyType)


def _refuse_unknown_choice(value: Any, options: Sequence[Any], origin: str, at: tuple[str, ...]) -> None:
    """msgspec reports that a text is not one of the choices, but does not list them."""
    if isinstance(value, str):
        choices, place = [one for option in options for one in _choices(option)], at
        takes_any_text = any(isinstance(option, _TEXT) for option in options)
        wrong = not takes_any_text and value not in choices
    else:
        structs = [option for option in options if isinstance(option, msgspec.inspect.StructType)]
        field = structs[0].tag_field if structs else None
        if field is None or not isinstance(value, dict) or field not in value:
            return
        value, choices, place = value[field], [struct.tag for struct in structs], (*at, field)
        wrong = value not in choices
    if choices and wrong:
        listed = ", ".join(str(choice) for choice in choices)
        if any(hasattr(option, "item_type") or hasattr(option, "item_types") for option in options):
            listed += "; or a list"
        raise ConfigError(f"{origin}: `{'.'.join(place)}` is '{value}'; expected one of: {listed}")


def _choices(option: Any) -> list[Any]:
    if isinstance(option, msgspec.inspect.EnumType):
        return [member.value for member in option.cls]
    return list(getattr(option, "values", ()))
