"""Mutation testing: breaks lines of the code one by one, and counts the breaks that no test notices.

    uv pip install 'cosmic-ray>=8.7'
    python tools/mutation.py [--area NAME ...] [--mutants N] [--minutes M] [--seed S] [--all-tests]

It changes files of the checkout and puts each back, so run it in a checkout of its own (git worktree add),
and not beside an editor. Mutants are those of cosmic-ray (https://github.com/sixty-north/cosmic-ray), one
for each place of the code that has some, in random order, in turn from each area; the same seed and code
give the same. Each goes through the test files that import its module or name it, in a fork of this process,
which has the libraries loaded; with --all-tests what survives goes through all tests of its area, too. Slow
tests are left out. A test that hangs kills its mutant.

Left out are mutants that change nothing: type annotations, docstrings, ``==`` for ``is`` and the reverse, and
the options of data classes (frozen, slots). Among what survives are others of that kind, such as the capacity
of a queue that is one larger: read each diff.

Prints one line for each mutant, the diff of each that survives, and the figures of each area as JSON.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import importlib
import importlib.util
import itertools
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmic_ray.operators.operator import Operator
    from cosmic_ray.work_item import MutationSpec

ROOT = Path(__file__).resolve().parents[1]
AREAS = ("pipeline", "events", "recording", "tracking", "evaluation")
LIBRARIES = ("av", "cv2", "hypothesis", "msgspec", "numpy", "onnxruntime", "supervision", "trackers", "yaml")
NEEDED = {"cosmic_ray": "cosmic-ray>=8.7", "pytest": "pytest"}
"""Modules that it cannot do without, as pip calls them."""
TIMEOUT_S = 240.0
_EQUIVALENT = re.compile(r"_(Eq_Is|Is_Eq|NotEq_IsNot|IsNot_NotEq)$")


@dataclass
class Figures:
    """What was found in an area.

    Attributes:
        places: that have a mutant.
        tried, killed: how many of them.
        survived: where, and which change.
    """

    places: int
    tried: int = 0
    killed: int = 0
    survived: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--area", nargs="+", default=list(AREAS), help="folders below edgevision/")
    parser.add_argument("--mutants", type=int, help="at most so many in total; default: all")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none after this time")
    parser.add_argument("--seed", type=int, default=0, help="another order for another, default 0")
    parser.add_argument("--skip", type=int, default=0, help="how many an earlier run has tried")
    parser.add_argument("--all-tests", action="store_true", help="ask all tests of an area in the end")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    missing = [f"'{package}'" for name, package in NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"error: not installed: {', '.join(missing)}; uv pip install {' '.join(missing)}\n")
        return 1
    end = time.monotonic() + 60 * options.minutes
    for name in (*NEEDED, *LIBRARIES):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    orders = {area: mutants(area, options.seed) for area in options.area}
    figures = {area: Figures(len(order)) for area, order in orders.items()}
    rounds = itertools.zip_longest(*([(area, one) for one in order] for area, order in orders.items()))
    turns = (turn for round_ in rounds for turn in round_ if turn is not None and can_be_made(turn[1]))
    for number, (area, mutation) in enumerate(itertools.islice(turns, options.skip, None)):
        if number == options.mutants or time.monotonic() > end:
            break
        survivor = surviving_diff(area, mutation, options.all_tests)
        of_area = figures[area]
        of_area.tried += 1
        change = mutation.operator_name.removeprefix("core/")
        place = f"{mutation.module_path}:{mutation.start_pos[0]} {change}"
        say(f"{'killed' if survivor is None else 'SURVIVED'} {place}")
        if survivor is None:
            of_area.killed += 1
        else:
            of_area.survived.append(place)
            say(survivor)
    text = json.dumps({area: asdict(of_area) for area, of_area in figures.items()}, indent=2) + "\n"
    say(text)
    if options.json is not None:
        options.json.write_text(text, encoding="utf-8")
    return 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def mutants(area: str, seed: int) -> list[MutationSpec]:
    """One mutant for each place of an area that has one, in random order."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB, use_db

    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "edgevision" / area).glob("*.py"))
    with use_db(":memory:", WorkDB.Mode.create) as session:
        init(paths, session, {})
        found = [item.mutations[0] for item in session.work_items]
    left_out = {str(path): list(places_without_effect(path)) for path in paths}
    found = [
        one
        for one in found
        if not _EQUIVALENT.search(one.operator_name)
        and not any(start <= tuple(one.start_pos) < end for start, end in left_out[str(one.module_path)])
    ]
    found.sort(key=lambda one: (str(one.module_path), one.start_pos, one.operator_name, one.occurrence))
    random.Random(seed).shuffle(found)
    places: dict[tuple[str, object], MutationSpec] = {}
    for one in found:
        places.setdefault((str(one.module_path), one.start_pos), one)
    return list(places.values())


def places_without_effect(path: Path) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Beginning and end of each annotation, docstring and option of a class, ``(line, column)``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.append(node.value)
        if isinstance(node, ast.ClassDef):
            parts += [keyword.value for keyword in node.keywords]
            calls = [one for one in node.decorator_list if isinstance(one, ast.Call)]
            parts += [keyword.value for call in calls for keyword in call.keywords]
        for part in parts:
            if isinstance(part, ast.expr):
                yield (part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)


def surviving_diff(area: str, mutation: MutationSpec, all_tests: bool) -> str | None:
    """The change, where all tests pass with it; None where one fails."""
    from cosmic_ray.mutating import use_mutation

    everything = ROOT / "tests" / area
    own = tests_of(Path(mutation.module_path), everything)
    stages = [own or [everything], *([[everything]] if all_tests and own else [])]
    path = Path(mutation.module_path)
    with use_mutation(path, operator_of(mutation), mutation.occurrence) as (before, after):
        if not all(pass_tests(paths) for paths in stages):
            return None
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(*lines, str(path), str(path), n=1))


def operator_of(mutation: MutationSpec) -> Operator:
    """What makes the change."""
    from cosmic_ray.plugins import get_operator

    operator: Operator = get_operator(mutation.operator_name)(**mutation.operator_args)
    return operator


def can_be_made(mutation: MutationSpec) -> bool:
    """False for the few that cosmic-ray lists and cannot make, such as ``except name.Error`` with another."""
    from cosmic_ray.mutating import mutate_code

    code = Path(mutation.module_path).read_text(encoding="utf-8")
    with contextlib.suppress(AttributeError):
        return mutate_code(code, operator_of(mutation), mutation.occurrence) is not None
    return False


def pass_tests(paths: list[Path]) -> bool:
    """Whether these tests pass, in a fork of this process; False where they hang."""
    child = os.fork()
    if child == 0:
        _be_pytest(
            [
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                "-m",
                "not slow and not gpu and not rtsp",
                *map(str, paths),
            ]
        )
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _be_pytest(arguments: list[str]) -> None:
    """What the fork does; it never returns."""
    import pytest

    code = 1
    try:
        os.setsid()  # so that what the tests start ends with them where they hang
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        # Two changes within a second look alike to Python, which would take the compiled file of the first.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        code = int(pytest.main(arguments))
    finally:
        os._exit(code)


def tests_of(module: Path, folder: Path) -> list[Path]:
    """The test files that import a module or name it in their docstring."""
    name = ".".join(module.with_suffix("").parts).removesuffix(".__init__")
    word = re.compile(rf"\b{re.escape(name)}\b(?!\.)")
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.glob("test_*.py"))}
    return [path for path, text in texts.items() if path.stem == f"test_{module.stem}" or word.search(text)]


if __name__ == "__main__":
    sys.exit(main())
