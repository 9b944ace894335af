"""Options that are made from the table of settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from edgevision.cli.app import app
from edgevision.cli.options import YesOrNo
from edgevision.cli.stream_options import given, option_name
from edgevision.session.settings import STREAM_SETTINGS


@pytest.mark.parametrize("name", ["run", "serve"])
def test_a_command_has_an_option_for_each_setting_with_its_help(name: str) -> None:
    options = {option.name: option for option in get_command(app).commands[name].params}  # type: ignore[attr-defined]
    for setting in STREAM_SETTINGS:
        option = options[setting.name]
        assert option.opts == [option_name(setting.name)]
        assert setting.help.split("`")[0] in option.help
        assert "`" not in option.help
    assert "implies --track (" in options["zones"].help
    assert options["conf"].help.endswith("Default: 0.35.")


def test_only_what_stands_on_the_command_line_is_given_also_a_zero() -> None:
    unset = {setting.name: None for setting in STREAM_SETTINGS} | {"track": False, "events": [], "model": []}
    assert given(unset) == {}
    settings = {**unset, "conf": 0.0, "zones": Path("z.yaml"), "record_drawn": YesOrNo.NO, "track": True}
    assert given(settings) == {"conf": 0.0, "zones": "z.yaml", "record_drawn": False, "track": True}
