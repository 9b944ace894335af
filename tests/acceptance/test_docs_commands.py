"""What the documents show can be typed: commands and options exist, snippets compile, and many are run."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

import edgevision as ev
from edgevision.cli import main
from edgevision.session.spec import read_streams
from edgevision.tracking import load_zones
from tests.support.pages import PAGES, Block, blocks, options, parse
from tests.support.paths import ROOT

ALL = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in ALL if block.language == "sh"]

# What a test has not: a camera, a broker, a server, a device, root.
ELSEWHERE = re.compile(
    r"rtsp://|rtmp|webcam|/dev/video|csi://|gst://|mqtts?://|--display|\bsudo\b|\bffmpeg\b|\.engine\b"
)

# Options of the project's own programs.
PROGRAMS = {
    option
    for folder in ("benchmarks", "tools")
    for path in (ROOT / folder).glob("*.py")
    for option in re.findall(r"\"(--[a-z][a-z-]+)\"", path.read_text(encoding="utf-8"))
}

# Options of other programs that pages name.
FOREIGN = {
    *("--system", "--shell", "--now", "--group", "--head", "--num-cpus", "--address", "--nproc-per-node"),
    *("--no-python", "--logdir", "--only-binary", "--end2end", "--constraint", "--system-site-packages"),
    *("--reinstall", "--gpus", "--build-arg", "--runtime", "--verbose", "--rm", "--loadEngine", "--fp16"),
    *("--device", "--pred_folder"),
}


def place(block: Block) -> str:
    return f"{block.page}: {block.code[:60]!r}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_the_program_takes(page: str) -> None:
    for block in blocks(page, "sh", "bash", "console"):
        for command in block.commands():
            parse(command)


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    known = {one for names in options().values() for one in names} | FOREIGN | PROGRAMS
    assert not set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text)) - known
    for command, rest in re.findall(r"`edgevision ((?:data )?[a-z-]+)([^`]*)`", text):
        assert command in options(), command
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", rest)) <= options()[command], command


def test_commands_stand_in_blocks_that_say_so() -> None:
    loose = [
        f"{page}: {line}"
        for page in PAGES
        for line in re.findall(
            r"^    (?:edgevision|make|pip|python) .*$",
            re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL),
            re.MULTILINE,
        )
    ]
    assert loose == []
    assert {block.language for block in ALL} <= {"", "sh", "python", "yaml", "json", "toml", "nginx"}
    assert not [place(block) for block in ALL if not block.language and "edgevision run" in block.code]


def test_prose_is_no_wider_than_120_columns() -> None:
    wide = []
    for page in PAGES:
        if page.startswith("docs/benchmarks/"):  # programs write most of them
            continue
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
        lines = [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "<!--"))]
        wide += [f"{page}: {line[:60]}" for line in lines if " " in line.strip()]
    assert wide == []


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "python"], ids=place)
def test_snippets_compile_and_import_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module}.{name.name}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ev":
            assert node.attr in ev.__all__


def test_configurations_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = 0
    for block in (one for one in ALL if one.language == "yaml"):
        document = yaml.safe_load(block.code)
        path = tmp_path / "zones.yaml"
        path.write_text(block.code)
        if "zones" in document:
            load_zones(path, classes=("person",))
        elif "streams" in document:
            path = tmp_path / "streams.yaml"
            path.write_text(block.code)
            assert read_streams(path, {})
        else:
            continue
        loaded += 1
    assert loaded >= 3


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "json"], ids=place)
def test_json_is_json(block: Block) -> None:
    for line in block.code.splitlines():
        if line.startswith("{"):
            json.loads(line)


def test_what_is_not_run_says_why_and_names_tests_that_exist() -> None:
    for block in ALL:
        for path in re.findall(r"tests/[\w/]+(?:\.py)?", block.reason or ""):
            assert (ROOT / path).exists(), (block.page, path)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: half a second of the demo as street.mp4, photos, zones, recordings."""
    pytest.importorskip("skimage", reason="needs the extra 'demo'")
    pytest.importorskip("trackers", reason="needs the extra 'track'")
    import cv2

    folder = tmp_path_factory.mktemp("material")
    with ev.open_source("demo") as source:
        frames = [frame for _, frame in zip(range(8), source, strict=False)]
    for name in ("photos", "recordings", "images"):
        (folder / name).mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / "images" / f"{number:02}.png"), cv2.resize(frame.image, (640, 360)))
    cv2.imwrite(str(folder / "street.jpg"), frames[0].image)
    for number in (0, 7):
        cv2.imwrite(str(folder / "photos" / f"{number}.jpg"), frames[number].image)
    ev.run("retinanet-light", str(folder / "images" / "*.png"), output=folder / "street.mp4")
    shutil.rmtree(folder / "images")
    shutil.copy(folder / "street.mp4", folder / "recordings" / "gate.mp4")
    (zones,) = [one.code for one in ALL if one.page == "docs/guides/zones.md" and one.language == "yaml"]
    (folder / "zones.yaml").write_text(zones)
    return folder


def runnable(page: str) -> list[list[str]]:
    """The commands of a page that neither need something from elsewhere nor say why they are not run."""
    return [
        command
        for block in blocks(page, "sh")
        if block.reason is None
        for command in block.commands(without=ELSEWHERE)
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_the_commands_of_a_page_work(
    page: str,
    material: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each in turn, in a folder with the files that the pages speak of."""
    shutil.copytree(material, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for command in runnable(page):
        with pytest.raises(SystemExit) as ended:
            main([*command, *(["--jobs", "1"] if command[0] == "process" else [])])
        assert ended.value.code in (0, None), (command, capsys.readouterr().err)
    if page not in ("README.md", "docs/guides/python.md"):  # test_docs_python.py looks at what those print
        for block in blocks(page, "python"):
            if block.reason is None:
                exec(compile(block.code, page, "exec"), {"__name__": page})
                assert capsys.readouterr().out
