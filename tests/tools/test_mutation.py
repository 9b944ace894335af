"""The tool for mutation testing: which places it breaks, and which tests it asks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

pytest.importorskip("cosmic_ray", reason="needs cosmic-ray; tools/mutation.py says how to install it")


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("mutation", ROOT / "tools" / "mutation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for its names
    spec.loader.exec_module(module)
    return module


def test_annotations_docstrings_and_options_of_classes_are_no_places(tool: Any, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""One."""\n\ndef f(x: int | None = 1) -> int | None:\n    """Two."""\n    return x\n'
        "@dataclass(frozen=True)\nclass A(B, c=1):\n    d = 1\n"
    )
    assert sorted(tool.places_without_effect(path)) == [
        ((1, 0), (1, 10)),
        ((3, 9), (3, 19)),
        ((3, 28), (3, 38)),
        ((4, 4), (4, 14)),
        ((6, 18), (6, 22)),
        ((7, 13), (7, 14)),
    ]


def test_each_place_has_one_mutant_and_a_seed_gives_one_order(
    tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = tool.mutants("tracking", 3)
    places = [(one.module_path, one.start_pos) for one in found]
    assert len(places) == len(set(places)) > 100
    assert places == [(one.module_path, one.start_pos) for one in tool.mutants("tracking", 3)]
    assert places != [(one.module_path, one.start_pos) for one in tool.mutants("tracking", 4)]


def test_tests_of_a_module_import_it_or_name_it(tool: Any) -> None:
    found = tool.tests_of(Path("edgevision/recording/trigger.py"), ROOT / "tests" / "recording")
    assert [path.name for path in found] == ["test_recorder.py"]
