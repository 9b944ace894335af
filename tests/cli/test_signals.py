"""Signals ask a run to finish, a second one interrupts, and handlers are put back."""

import os
import signal

import pytest

from edgevision.cli.signals import end_on_sigterm, signal_exit_code, stop_on_signals
from edgevision.pipeline import StopRequest


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_asks_and_the_second_interrupts(name):
    number, stop = getattr(signal, name), StopRequest()
    before = signal.getsignal(number)
    with stop_on_signals(stop):
        send(number)
        assert stop.reason == name
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert signal.getsignal(number) is before


def test_an_ignored_hangup_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = StopRequest()
        with stop_on_signals(stop):
            send(signal.SIGHUP)
        assert stop.reason is None
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_sigterm_ends_a_block_with_its_exit_code():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, end_on_sigterm():
        send(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_exit_codes():
    assert [signal_exit_code(name) for name in ("SIGINT", "SIGTERM", "SIGHUP")] == [130, 143, 129]
    assert signal_exit_code("the source ended") is None
