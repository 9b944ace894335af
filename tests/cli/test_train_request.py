"""What a run was asked for: kept, read, and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.cli.train_request import Request
from edgevision.errors import UsageError


def test_a_request_is_kept_for_later(tmp_path: Path) -> None:
    request = Request(Path("d"), "unet-light", None, 2.5, Path("i"), "empty", True, True, 0.02)
    request.write(tmp_path)
    assert Request.read(tmp_path) == request


def test_a_run_of_the_default_length_goes_on_for_it(tmp_path: Path) -> None:
    Request(Path("photos"), "", None, None, None, "auto", False).write(tmp_path)
    again = Request(None, "", 30.0, None, None, "auto", False)
    assert again.resumed(tmp_path).data == Path("photos")
    with pytest.raises(UsageError, match="another --minutes"):
        Request(None, "", 31.0, None, None, "auto", False).resumed(tmp_path)


def test_int8_can_be_asked_for_when_a_run_goes_on(tmp_path: Path) -> None:
    Request(Path("photos"), "unet-light", None, 2.0, None, "leave-out", False).write(tmp_path)
    later = Request(Path("moved"), "", None, None, None, "leave-out", False, True, 0.02).resumed(tmp_path)
    assert (later.data, later.base, later.epochs) == (Path("moved"), "unet-light", 2.0)
    assert (later.int8, later.max_drop) == (True, 0.02)
    later.write(tmp_path)
    assert Request.read(tmp_path) == later
