"""What json of another kind is called where COCO's is expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgevision.data.formats.coco import CocoDocument, CocoIds, read_coco
from edgevision.data.formats.detections import add_detections
from edgevision.data.formats.raw import RawSet
from edgevision.errors import DataError

ROW = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.5}
EMPTY: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
EXPECTED = "expected COCO instances (images, annotations, categories)"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([ROW], f"found a list of results rows, {EXPECTED}"),
        ([], f"found a list of 0, {EXPECTED}"),
        ([{"image": "a.jpg"}], f"found a list of 1, {EXPECTED}"),
        ({"shapes": [], "images": []}, f"found an object with 'shapes', 'images', {EXPECTED}"),
        (7, f"found a single value, {EXPECTED}"),
        ({**EMPTY, "images": {"1": "a"}}, "'images' is an object with '1'; expected a list of objects"),
        ({**EMPTY, "annotations": None}, "'annotations' is a single value; expected a list of objects"),
        (
            {**EMPTY, "categories": ["red"]},
            "an entry of 'categories' is no object; expected a list of objects",
        ),
        ({**EMPTY, "images": [{"id": 1}]}, "an entry has no 'file_name'"),
        ("hello", "it is no json (Expecting value, line 1, column 1)"),
        (b"", "it is no json (Expecting value, line 1, column 1)"),
        (b"\xe9\xff", "it is no json (byte 0 is no text in utf-8)"),
        ("[" * 100_000, "it is no json (it is nested too deeply)"),
    ],
)
def test_what_is_no_instances_json(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "set.json"
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    for read in (lambda: read_coco(path, tmp_path), lambda: CocoDocument(path)):
        with pytest.raises(DataError) as error:
            read()
        assert str(error.value) == f"{path} is not COCO instances json: {words}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (EMPTY, "found COCO instances (images, annotations, categories), expected a list of results rows"),
        ([ROW, 5], "an entry is no object"),
        ("text", "found a single value, expected a list of results rows"),
        ([{**ROW, "bbox": 4}], "'int' object is not iterable"),
    ],
)
def test_what_is_no_results_json(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="is not COCO results json: ") as error:
        add_detections(RawSet("set", (), (), ()), path, CocoIds({1: "red"}, {}, {}), (), 0.4, 0.2)
    assert words in str(error.value)
    assert "Error" not in str(error.value)
