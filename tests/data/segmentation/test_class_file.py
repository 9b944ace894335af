"""``classes.json``: what is written is what is read, and labels with other ids do not join."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgevision.data.segmentation.class_file import (
    NamedClass,
    read_class_file,
    refuse_other_ids,
    write_class_file,
)
from edgevision.errors import DataError

ROAD, KERB = {"id": 0, "name": "road"}, {"id": 1, "name": "kerb"}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_class_file(tmp_path / "classes.json", ["road", "kerb"], [(1, 2, 3), None])
    document = read_class_file(tmp_path / "classes.json")
    assert document.classes == [NamedClass(0, "road", (1, 2, 3)), NamedClass(1, "kerb")]
    assert document.ignore_index == 255
    assert "rgb" not in json.loads((tmp_path / "classes.json").read_text())["classes"][1]


def test_a_file_of_the_same_ids_is_joined_whatever_its_colours_and_order(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    refuse_other_ids(path, ["road", "kerb"])  # there is none yet
    void = {"id": 255, "name": "void"}
    path.write_text(json.dumps({"ignore_index": 255, "classes": [KERB, {**ROAD, "rgb": [9, 9, 9]}, void]}))
    refuse_other_ids(path, ["road", "kerb"])


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"ignore_index": 255, "classes": [ROAD]}, "has road 0, ignore_index 255; expected road 0, kerb 1"),
        (
            {"ignore_index": 255, "classes": [{"id": 1, "name": "road"}, {"id": 2, "name": "kerb"}]},
            "has road 1, kerb 2, ignore_index 255; expected road 0, kerb 1, ignore_index 255",
        ),
        ({"ignore_index": 11, "classes": [ROAD, KERB]}, "ignore_index 11; expected"),
        ({"classes": [ROAD, KERB]}, "ignore_index none; expected .*; add it there, or choose another"),
        ({"ignore_index": 0, "classes": [ROAD, KERB]}, "has kerb 1, ignore_index 0"),
        ({"classes": []}, "no class"),
    ],
)
def test_other_ids_are_refused(tmp_path: Path, document: dict[str, Any], found: str) -> None:
    (tmp_path / "classes.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=found):
        refuse_other_ids(tmp_path / "classes.json", ["road", "kerb"])
