"""Text files of labels and names, in the encodings that people's programs write."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from edgevision.data.formats.raw import LabelProblem
from edgevision.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in what its byte order mark says (PowerShell writes UTF-16).

    Raises:
        FileNotFoundError: it is missing.
        DataError: it cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file in the encoding that it declares; else in the one of :func:`read_text`.

    Raises:
        FileNotFoundError: it is missing.
        DataError: it cannot be read, is in another encoding, or is no XML.
    """
    text = None
    try:
        try:
            return ElementTree.fromstring(path.read_bytes())
        except (ElementTree.ParseError, LookupError, ValueError):  # an encoding that expat does not know
            text = read_text(path)
        return ElementTree.fromstring(text)
    except FileNotFoundError:
        raise
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(str(error)) from error


def label_files(files: Iterable[Path], suffix: str) -> tuple[dict[str, Path], list[LabelProblem]]:
    """Label files by their path without the suffix, of which cameras and Windows write capitals.

    Args:
        files: any files.
        suffix: in lower case, such as ``.txt``.

    Returns:
        The files, where two differ in case alone the one in lower case; and a problem for each such pair.
    """
    found: dict[str, Path] = {}
    problems: list[LabelProblem] = []
    for path in sorted(files, key=lambda one: (one.suffix != suffix, one)):
        if path.suffix.lower() != suffix:
            continue
        other = found.setdefault(str(path.with_suffix("")), path)
        if other is not path:
            problems.append(LabelProblem("ambiguous", f"{other.name} and {path.name}: the first one is used"))
    return found, problems


def is_number(word: str) -> bool:
    """Whether a word is a number as Python reads it."""
    try:
        float(word)
    except ValueError:
        return False
    return True
