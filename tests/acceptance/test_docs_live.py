import re

from edgevision.video.sources import chaos, options
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "guides" / "cameras.md").read_text()


def test_every_fault_is_shown_by_a_test_that_exists():
    table = PAGE.partition("## Faults")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
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
