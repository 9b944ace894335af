"""What 'make demo' finds: what its three photographs show, and nothing else."""

import json
import shlex
from collections import Counter

import pytest

from edgevision.cli import main
from tests.support.paths import ROOT


def demo_command():
    """The options of 'make demo', as they stand in the Makefile."""
    recipe = (ROOT / "Makefile").read_text()
    (line,) = (line for line in recipe.splitlines() if "/edgevision run --source demo " in line)
    return shlex.split(line)[1:]


def test_the_demo_shows_a_person_a_cat_and_a_motorbike_and_nothing_else(tmp_path, monkeypatch):
    pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")
    monkeypatch.chdir(tmp_path)
    command = demo_command()
    command[command.index("demo")] = "demo://?seconds=2.4"  # every fifth of its frames
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code
    assert (tmp_path / "demo.mp4").is_file()
    frames = [json.loads(line) for line in (tmp_path / "demo.jsonl").read_text().splitlines()]
    frames = [frame for frame in frames if "detections" in frame]
    assert len(frames) == 60
    shown = ["person"] * 20 + ["cat"] * 20 + ["motorbike"] * 20
    found = Counter()
    for frame, expected in zip(frames, shown, strict=True):
        names = [one["class"] for one in frame["detections"]]
        assert set(names) <= {expected}
        found[expected] += len(names) == 1
    assert {name: count >= 18 for name, count in found.items()} == dict.fromkeys(shown, True), found
