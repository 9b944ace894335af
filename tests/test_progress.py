"""Progress that nobody asked for shows and says nothing."""

from __future__ import annotations

import pytest

from edgevision.progress import no_note, no_progress


def test_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with no_progress("reading", None) as on_done:
        for done in range(3):
            on_done(done)
    no_note("a line")
    assert capsys.readouterr() == ("", "")


def test_an_error_inside_passes() -> None:
    with pytest.raises(ZeroDivisionError), no_progress("reading", 3) as on_done:
        on_done(1 // 0)
