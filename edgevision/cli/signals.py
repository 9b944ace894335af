"""What Ctrl-C and SIGTERM do: a request to finish, or the end of what was begun."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edgevision.pipeline import StopRequest
from edgevision.session.reload import ReloadRequest

_ENDING: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextmanager
def stop_on_signals(stop: StopRequest, reload: ReloadRequest | None = None) -> Iterator[None]:
    """While it lasts, SIGINT, SIGTERM and SIGHUP set ``stop.reason`` to their name; a second one interrupts.

    SIGHUP stays ignored where it is, as under ``nohup``.

    Args:
        stop: see above.
        reload: what SIGHUP asks for instead, unless it comes because the terminal was closed.
    """
    had_terminal = _has_terminal()

    def ask(number: int, frame: FrameType | None) -> None:
        is_hangup = number == getattr(signal, "SIGHUP", None)
        if is_hangup and reload is not None and _has_terminal() == had_terminal:
            reload.asked += 1
            return
        if stop.reason is not None:
            raise KeyboardInterrupt
        stop.reason = signal.Signals(number).name

    previous = {
        number: signal.signal(number, ask)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Whether a terminal controls this process; False once it was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what it made is taken away; the exit code is 143."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def signal_exit_code(reason: str) -> int | None:
    """128 plus the number of the signal that ``reason`` names, as shells count; None for other reasons."""
    for number in _ENDING:
        if reason == number.name:
            return 128 + number
    return None
