"""The tests mirror the source: the tests of a module are found from its path.

The tests of ``edgevision/a/b.py`` are in ``tests/a/test_b.py``, or a test file in ``tests/a`` imports it. A
module that is tested only through others (a command by its program, a stage by the pipeline) is named, as
``edgevision.a.b``, in the docstring of the test file that does so.
"""

import ast

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
    """Whether a module holds more than its docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return len(tree.body) > (ast.get_docstring(tree) is not None)


def imported(tree):
    """Every module that a file imports, and every name that it imports from one, dotted."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


MODULES = dict(modules())
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(TESTS.rglob("test_*.py"))
    if path.name != "test_mirror.py"
}
IMPORTED = {path: imported(tree) for path, tree in TREES.items()}
NAMED = {
    word.strip("`.,;:()")
    for tree in TREES.values()
    for word in (ast.get_docstring(tree) or "").split()
    if "edgevision." in word
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_its_tests_where_its_path_says(name):
    path = MODULES[name]
    parts = name.split(".")[1:]
    folder = TESTS.joinpath(*(parts if path.stem == "__init__" else parts[:-1]))
    mirror = folder / f"test_{parts[-1] if parts else 'init'}.py"
    by_import = any(file.parent == folder and name in names for file, names in IMPORTED.items())
    assert mirror in TREES or by_import or name in NAMED, (
        f"{name} has no tests: expected {mirror.relative_to(ROOT)}, an import of it there, or its name "
        f"in the docstring of the test file that runs it"
    )


def test_modules_named_in_docstrings_exist():
    assert sorted(NAMED - set(MODULES)) == []


def test_every_folder_of_tests_stands_for_a_package():
    for folder in TESTS.rglob("*"):
        place = folder.relative_to(TESTS)
        if folder.is_dir() and folder.name != "__pycache__" and place.parts[0] not in OTHER_FOLDERS:
            assert (PACKAGE / place / "__init__.py").is_file(), f"tests/{place} has no edgevision/{place}"
