"""How far a build is, from what TensorRT reports: hand-worked."""

from __future__ import annotations

import pytest

from edgevision.export.plans.progress import BuildProgress


def test_the_share_counts_phases_in_phases() -> None:
    progress = BuildProgress()
    assert progress.fraction == 0
    progress.start("build", None, 4)
    assert progress.step("build", 0)
    assert progress.fraction == 0.25
    progress.start("optimise", "build", 2)
    assert progress.doing == "optimise"
    progress.step("optimise", 0)
    assert progress.fraction == pytest.approx(0.25 + 0.25 / 2)
    progress.start("measure", "optimise", 10)
    progress.step("measure", 4)
    assert progress.fraction == pytest.approx((1 + (1 + 0.5) / 2) / 4)
    progress.finish("measure")
    assert progress.doing == "optimise"
    progress.finish("optimise")
    # The parent counts the phase only at its next step; the bar does not go back meanwhile.
    assert progress.fraction == pytest.approx((1 + (1 + 0.5) / 2) / 4)
    progress.step("build", 3)
    progress.finish("build")
    assert progress.fraction == 1


def test_phases_side_by_side_share_their_parents_step() -> None:
    progress = BuildProgress()
    progress.start("build", None, 1)
    for name, done in (("a", 1), ("b", 3)):
        progress.start(name, "build", 4)
        progress.step(name, done - 1)
    assert progress.fraction == pytest.approx((0.25 + 0.75) / 2)


def test_a_cancelled_build_is_told_to_stop_at_its_next_step() -> None:
    progress = BuildProgress()
    progress.start("build", None, 2)
    assert progress.step("build", 0) is True
    progress.cancel()
    assert progress.is_cancelled
    assert progress.step("build", 1) is False
    progress.finish("build")
    assert progress.fraction < 1  # never shown as done


def test_odd_reports_do_no_harm() -> None:
    progress = BuildProgress()
    progress.start("empty", None, 0)
    progress.step("unknown", 7)
    progress.step("empty", 5)
    progress.finish("unknown")
    assert progress.fraction == 1
