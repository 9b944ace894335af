import os
import threading

import pytest

from edgevision.engines.trt.trust import is_built_here, record_built_plan, record_path
from edgevision.errors import EngineMismatchError, SinkError

ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "edgevision" / "plans.jsonl"


def test_only_a_recorded_plan_is_known(state):
    assert not is_built_here(ONE)
    record_built_plan("street.engine", ONE)
    assert is_built_here(ONE)
    assert not is_built_here(OTHER)
    assert state.stat().st_mode & 0o777 == 0o600


def test_the_record_is_in_the_users_state(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for other in ("", "relative/folder"):
        monkeypatch.setenv("XDG_STATE_HOME", other)
        assert record_path() == tmp_path / ".local" / "state" / "edgevision" / "plans.jsonl"


def test_a_damaged_line_spoils_no_other(state):
    record_built_plan("a.engine", ONE)
    with state.open("ab") as stream:
        stream.write(b'{"sha256": "22\n')
    record_built_plan("b.engine", OTHER)
    assert is_built_here(ONE)
    assert is_built_here(OTHER)


def test_builds_that_end_together_are_all_recorded():
    names = [f"{i:064x}" for i in range(40)]
    threads = [threading.Thread(target=record_built_plan, args=("p.engine", name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_built_here(name) for name in names)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")
def test_a_record_that_others_may_write_proves_nothing(state):
    record_built_plan("a.engine", ONE)
    state.chmod(0o666)
    with pytest.raises(EngineMismatchError, match=r"can be written by others.*chmod 600"):
        is_built_here(ONE)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of POSIX")
def test_a_record_of_another_owner_proves_nothing(state, monkeypatch):
    record_built_plan("a.engine", ONE)
    somebody = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    with pytest.raises(EngineMismatchError, match=rf"can be written by others.*chown {somebody} "):
        is_built_here(ONE)


def test_a_record_that_cannot_be_written_says_what_to_do(tmp_path, state):
    (tmp_path / "state").write_text("a file where a folder must be")
    with pytest.raises(SinkError, match=r"cannot record a\.engine as built here.*`trust`"):
        record_built_plan("a.engine", ONE)
    assert not is_built_here(ONE)
