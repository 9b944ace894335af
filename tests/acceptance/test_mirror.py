"""The tests mirror the source: the tests of a module are found from its path.

The tests of ``edgevision/a/b.py`` are in ``tests/a/test_b.py``, or a test file in ``tests/a`` imports it. A
module that is tested only through others (a command by its program, a stage by the pipeline) is named, as
``edgevision.a.b``, in the docstring of the test file that does so.
"""

import ast
from functools import cache

import pytest

from tests.support.paths import ROOT

PACKAGE, TESTS = ROOT / "edgevision", ROOT / "tests"
OTHER_FOLDERS = {"acceptance", "benchmarks", "support", "tools"}


def modules(folder=PACKAGE, prefix="edgevision"):
    """Dotted names and paths of all modules with code, the linked folders export and calibration included."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if (path / "__init__.py").is_file():
                yield from modules(path, f"{prefix}.{path.name}")
        elif path.suffix == ".py" and has_code(path):
            yield (prefix if path.stem == "__init__" else f"{prefix}.{path.stem}"), path


def has_code(path):
    """Whether a module holds more than its docstring; every process that collects tests asks this of all."""
    text = path.read_text(encoding="utf-8").strip()
    return bool(text) and not (text.startswith('"""') and text.find('"""', 3) == len(text) - 3)


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path):
    """Every module that a file imports, and every name that it imports from one, dotted."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@cache
def named():
    """Every module that the docstring of a test file names."""
    return {
        word.strip("`.,;:()")
        for path in FILES
        for word in (ast.get_docstring(tree_of(path)) or "").split()
        if "edgevision." in word
    }


MODULES = dict(modules())
FILES = [path for path in sorted(TESTS.rglob("test_*.py")) if path.name != "test_mirror.py"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_its_tests_where_its_path_says(name):
    path = MODULES[name]
    parts = name.split(".")[1:]
    folder = TESTS.joinpath(*(parts if path.stem == "__init__" else parts[:-1]))
    mirror = folder / f"test_{parts[-1] if parts else 'init'}.py"
    beside = (file for file in FILES if file.parent == folder)
    assert mirror in FILES or any(name in imported(file) for file in beside) or name in named(), (
        f"{name} has no tests: expected {mirror.relative_to(ROOT)}, an import of it there, or its name "
        f"in the docstring of the test file that runs it"
    )


def test_modules_named_in_docstrings_exist():
    assert sorted(named() - set(MODULES)) == []


def test_every_folder_of_tests_stands_for_a_package():
    for folder in TESTS.rglob("*"):
        place = folder.relative_to(TESTS)
        if folder.is_dir() and folder.name != "__pycache__" and place.parts[0] not in OTHER_FOLDERS:
            assert (PACKAGE / place / "__init__.py").is_file(), f"tests/{place} has no edgevision/{place}"
