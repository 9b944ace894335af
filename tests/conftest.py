"""Settings for the whole suite."""

from __future__ import annotations

import os

# The networks of these tests are tiny: threads that wait for each other cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
