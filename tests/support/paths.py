"""Where things lie that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

SHARED = ROOT.parent / "shared"
"""Data and cases beside the checkout. A test that needs them skips with a reason where they are absent."""

SUPPORT = Path(__file__).resolve().parent
