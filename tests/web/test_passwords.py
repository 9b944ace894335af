"""Passwords and tokens: only hashes are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.errors import UsageError
from edgevision.web.passwords import Passwords, add_line, hash_password, hash_token, new_token

SECRET = "correct horse"


def test_a_password_opens_and_another_does_not() -> None:
    keys = Passwords((hash_password(SECRET),))
    assert keys.opens(SECRET)
    assert not keys.opens("correct horsf")
    assert not Passwords().opens("")


def test_a_hash_shows_nothing_and_differs_each_time() -> None:
    first, second = hash_password(SECRET), hash_password(SECRET)
    assert first != second
    assert SECRET not in first
    assert SECRET not in repr(Passwords((first,), (hash_token(SECRET),)))
    assert "scrypt" not in repr(Passwords((first,)))


def test_a_token_is_taken_and_another_is_not() -> None:
    token = new_token()
    keys = Passwords(tokens=(hash_token(token),))
    assert len(token) >= 40
    assert keys.takes(token)
    assert not keys.takes(token + "x")


def test_a_short_password_is_refused() -> None:
    with pytest.raises(UsageError, match="has 7 letters; expected 8 or more"):
        hash_password("1234567")


def test_a_file_keeps_tokens_and_replaces_the_password(tmp_path: Path) -> None:
    path = tmp_path / "page.password"
    add_line(path, "password", hash_password("the first one"))
    add_line(path, "token", hash_token("t1"))
    add_line(path, "password", hash_password(SECRET))
    assert path.stat().st_mode & 0o777 == 0o600
    found = Passwords.read(path, {})
    assert found.opens(SECRET)
    assert not found.opens("the first one")
    assert found.takes("t1")


def test_the_environment_holds_further_ones() -> None:
    found = Passwords.read(None, {"EDGEVISION_WEB_PASSWORD": SECRET, "EDGEVISION_WEB_TOKEN": "t"})
    assert found.opens(SECRET)
    assert found.takes("t")
    assert not Passwords.read(None, {}).is_set


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("password hunter22\n", "line 1: expected a line"),
        ("", "holds no password"),
        ("# nothing\n", "holds no password"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "f"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=said) as refused:
        Passwords.read(path, {})
    assert "hunter22" not in str(refused.value)


def test_a_file_that_others_may_change_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with pytest.raises(UsageError, match="cannot read"):
        Passwords.read(path, {})
    add_line(path, "token", hash_token("t"))
    path.chmod(0o666)
    with pytest.raises(UsageError, match="can be changed by other users"):
        Passwords.read(path, {})


def test_a_line_changed_by_hand_opens_nothing() -> None:
    assert not Passwords(("scrypt$x$8$1$AA==$AA==",)).opens(SECRET)
    assert not Passwords(("scrypt$short",)).opens(SECRET)
