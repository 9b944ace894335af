"""What a newcomer reads first is true: files that are named exist, and the checks before a commit can run."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.support.paths import ROOT

# With a placeholder they name files that a recipe asks for.
IN_A_WHEEL = {"edgevision/configs"}
BUILT = {"build/site"}
NAMED = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[A-Z]+\.md|pyproject\.toml)`")


@pytest.mark.parametrize("paper", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_is_named_exists(paper: str) -> None:
    named = set(NAMED.findall((ROOT / paper).read_text(encoding="utf-8"))) - IN_A_WHEEL - BUILT
    assert named
    assert not [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    folders = {name.rpartition("/")[0] for name in named if "NAME" in name}
    assert not [folder for folder in folders if not (ROOT / folder).is_dir()]


def test_the_recipes_name_what_they_say_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, file in (
        ("ACCEPTED", "edgevision/video/sources/open.py"),
        ("ACCEPTED", "edgevision/video/sinks/open.py"),
        ("EngineName", "edgevision/engines/choose.py"),
        ("_open", "edgevision/engines/__init__.py"),
        ("TABLE", "export/importers/recognise.py"),
        ("TrainingRun", "edgevision/training/config.py"),
        ("LiveSource", "edgevision/video/sources/live.py"),
        ("deliveries", "edgevision/video/base.py"),
    ):
        assert f"`{name}`" in text
        assert f"`{file}`" in text
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8")), f"{name} in {file}"


def test_the_checks_before_a_commit_are_those_of_make_test() -> None:
    document = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = document["repos"]
    assert repository["repo"] == "local"  # no other repository is fetched
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    for hook in repository["hooks"]:
        program = " ".join(hook["entry"].split(" --")[0].split())
        assert program in makefile, program
