from __future__ import annotations

from pathlib import Path

import pytest

import edgevision.config
from edgevision.config import config_folder
from edgevision.errors import ConfigError
from tests.support.paths import ROOT


def installed_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = folder / "edgevision"
    package.mkdir()
    monkeypatch.setattr(edgevision.config.resources, "files", lambda name: folder / name)
    return package


def test_a_checkout_uses_the_folder_beside_the_package() -> None:
    assert config_folder() == ROOT / "configs"


def test_an_installed_package_uses_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = installed_at(tmp_path, monkeypatch)
    (tmp_path / "configs").mkdir()
    (package / "configs").mkdir()
    assert config_folder() == package / "configs"


def test_a_damaged_installation_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed_at(tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match="reinstall edgevision") as caught:
        config_folder()
    assert "\n" not in str(caught.value)
