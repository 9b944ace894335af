import pytest

from edgevision.pipeline import StreamState
from edgevision.service.health import HealthWatch
from tests.support.pipeline import run_statistics, stream_statistics


class Run:
    """A run with one stream that a test moves on by hand."""

    def __init__(self):
        self.now = 100.0
        self.stream = {"written": 0}

    def watch(self, stale_s=30.0):
        return HealthWatch(
            lambda: run_statistics(stream_statistics("door", **self.stream)), stale_s, lambda: self.now
        )


def test_a_stream_that_delivers_is_healthy():
    run = Run()
    watch = run.watch()
    for second in range(0, 300, 29):
        run.now, run.stream = 100.0 + second, {"written": second}
        health = watch.look()
        assert (health.healthy, health.stalled, health.streams) == (True, False, {"door": "running"})


def test_a_stream_without_a_frame_for_too_long_is_stalled_until_one_comes():
    run = Run()
    watch = run.watch()
    seen = []
    for run.now in (100.0, 129.9, 130.0, 141.0):
        seen.append(watch.look())
    assert [health.stalled for health in seen] == [False, False, True, True]
    assert not seen[-1].healthy
    assert seen[-1].streams == {"door": "stalled: no frame for 41 s"}
    run.stream = {"written": 1}
    assert watch.look().healthy


def test_a_camera_that_is_awaited_is_no_fault_and_its_return_gets_the_full_time():
    run = Run()
    watch = run.watch()
    run.stream = {"written": 5, "state": StreamState.RECONNECTING}
    for run.now in (100.0, 1000.0):
        assert watch.look().streams == {"door": "reconnecting"}
    run.stream = {"written": 5}
    run.now = 1029.0
    assert watch.look().healthy
    run.now = 1030.0
    assert watch.look().stalled


@pytest.mark.parametrize(("state", "healthy"), [(StreamState.ENDED, True), (StreamState.FAILED, False)])
def test_a_stream_that_is_over_never_stalls(state, healthy):
    run = Run()
    run.stream = {"written": 5, "state": state, "error": "no such camera"}
    watch = run.watch()
    watch.look()
    run.now += 1000
    health = watch.look()
    assert (health.healthy, health.stalled) == (healthy, False)
    assert health.streams["door"] == ("ended" if healthy else "failed: no such camera")


def test_one_bad_stream_makes_the_run_unhealthy():
    good, bad = stream_statistics("a"), stream_statistics("b", state=StreamState.FAILED, error="gone")
    health = HealthWatch(lambda: run_statistics(good, bad)).look()
    assert (health.healthy, health.streams) == (False, {"a": "running", "b": "failed: gone"})
