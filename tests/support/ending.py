"""Tells how a process ends: in the ordinary way, or at once."""

ORDINARY = 99
"""Exit status where the libraries' own ends are called (C's exit handlers), after Python has taken itself
apart."""

WATCHED = f"""
import ctypes
libc = ctypes.CDLL(None)
libc.__cxa_atexit(ctypes.cast(libc._exit, ctypes.c_void_p), ctypes.c_void_p({ORDINARY}), None)
"""
"""The first lines of a program that ends in :data:`ORDINARY` there."""

PROGRAM = f"{WATCHED}from edgevision.__main__ import main; main()"
"""The program ``edgevision``, watched."""
