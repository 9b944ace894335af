import re

from edgevision.video.sources import chaos, options
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "guides" / "cameras.md").read_text(encoding="utf-8")
FAULTS = (ROOT / "docs" / "reference" / "live-faults.md").read_text(encoding="utf-8")


def test_every_fault_is_shown_by_a_test_that_exists():
    rows = [line for line in FAULTS.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    defined = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named or "---" in row, row
        assert named <= defined, named - defined


def test_every_option_is_explained():
    for key in options._READERS:
        assert re.search(rf"^\| `{key}` ", PAGE, re.MULTILINE), key
    for key in chaos._READERS:
        assert re.search(rf"^\| `{key}=", PAGE, re.MULTILINE), key
