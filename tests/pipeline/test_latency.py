"""The latency controller against a made-up machine and a made-up clock: no thread, no waiting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import UsageError
from edgevision.pipeline.latency import FALLBACK, MAIN, PACES, LatencyController

MS = 1_000_000


class Machine:
    """A camera with a frame every ``every_ms``, and a model and outputs that take their time.

    ``load_ms`` is what frames under way at the same time add to each other: the queue behind the model.
    """

    def __init__(self, bound_ms, *, has_fallback=False, every_ms=20.0, main_ms=40.0, fallback_ms=10.0):
        self.now_ns = 1_000 * MS
        self.controller = LatencyController(bound_ms, has_fallback, clock_ns=lambda: self.now_ns)
        self.every_ms, self.model_ms = every_ms, {MAIN: main_ms, FALLBACK: fallback_ms}
        self.queue_ms = 0.0
        self.latencies_ms = []

    def run(self, seconds):
        """Frames for so long; returns the latencies of those that were rendered."""
        end_ns, self.latencies_ms = self.now_ns + round(seconds * 1e9), []
        while self.now_ns < end_ns:
            captured_ns = self.now_ns
            if not self.controller.admit(captured_ns):
                self.now_ns += round(self.every_ms * MS)
                continue
            taken_ns, model = self.now_ns, self.controller.model_set
            queued_ms = self.queue_ms * (self.controller.depth - 1)
            self.now_ns += round((self.model_ms[model] + queued_ms) * MS)
            self.controller.rendered(captured_ns, taken_ns, model)
            self.latencies_ms.append((self.now_ns - captured_ns) / MS)
        return self.latencies_ms


def test_nothing_is_done_where_frames_are_in_time():
    machine = Machine(100)
    machine.run(30)
    figures = machine.controller.figures()
    assert (figures.level, figures.highest_level, figures.skipped, figures.exceeded) == (0, 0, 0, 0)
    assert (machine.controller.depth, machine.controller.model_set) == (PACES[0].depth, MAIN)


def test_a_queue_behind_the_model_is_removed_by_skipping():
    machine = Machine(100, has_fallback=True, main_ms=40)
    machine.queue_ms = 50  # with three frames under way each waits for two others: 140 ms
    machine.run(3)
    assert machine.run(5)[-1] <= 100
    figures = machine.controller.figures()
    assert 1 <= figures.highest_level <= 2
    assert (figures.switches, figures.on_fallback) == (0, False)
    assert figures.exceeded <= 6  # three late frames for each step


def test_the_fallback_model_comes_after_all_skipping():
    machine = Machine(100, has_fallback=True, main_ms=150, fallback_ms=30)
    machine.run(4)  # the first attempt to step down comes later
    figures = machine.controller.figures()
    assert figures.highest_level == len(PACES) - 1
    assert figures.on_fallback
    assert figures.switches == 1
    assert figures.exceeded == 3 * len(PACES)


def test_without_a_fallback_the_bound_is_exceeded_and_said_so():
    machine = Machine(100, main_ms=150)
    latencies = machine.run(20)
    figures = machine.controller.figures()
    assert not figures.on_fallback
    assert figures.exceeded == len(latencies) > 20  # it goes on answering: late answers are better than none
    assert figures.level == len(PACES) - 1


def test_it_steps_down_once_frames_are_early_again():
    machine = Machine(100, has_fallback=True, main_ms=150, fallback_ms=30)
    machine.run(5)
    machine.model_ms[MAIN] = 20
    machine.run(60)
    figures = machine.controller.figures()
    assert (figures.level, figures.on_fallback, figures.switches) == (0, False, 2)


def test_it_does_not_flap_between_models():
    machine = Machine(100, has_fallback=True, main_ms=150, fallback_ms=30)
    machine.run(600)
    switches = machine.controller.figures().switches
    # It tries the main model after 2, 4, 8 ... 300 seconds: to and fro, eight times in ten minutes.
    assert 3 <= switches <= 17
    before = switches
    machine.run(240)
    assert machine.controller.figures().switches - before <= 2


def test_between_comfort_and_the_bound_nothing_changes():
    machine = Machine(100, main_ms=40)
    machine.queue_ms = 50
    machine.run(3)
    level = machine.controller.figures().level
    machine.queue_ms, machine.model_ms[MAIN] = 0, 85  # in time, and not early
    machine.run(120)
    assert machine.controller.figures().level == level > 0


def test_a_frame_too_old_to_make_it_is_skipped_for_a_younger_one():
    machine = Machine(100, main_ms=80)
    machine.run(2)  # now it knows what a frame takes
    controller = machine.controller
    assert not controller.admit(machine.now_ns - 25 * MS)
    assert controller.admit(machine.now_ns - 15 * MS)
    assert controller.figures().skipped == 1


def test_a_hiccup_changes_nothing():
    machine = Machine(100, main_ms=40)
    machine.run(2)
    for _ in range(2):
        machine.model_ms[MAIN] = 500
        machine.run(0.1)
        machine.model_ms[MAIN] = 40
        machine.run(2)
    figures = machine.controller.figures()
    assert figures.exceeded == 2
    assert figures.highest_level == 0


@pytest.mark.parametrize("main_ms", [150, 4000])
def test_one_frame_that_takes_long_does_not_silence_the_stream(main_ms):
    """At the last level a stream rests for three times what a frame takes, of late and not this once."""
    machine = Machine(100, main_ms=main_ms)
    machine.run(80)
    assert machine.controller.figures().level == len(PACES) - 1
    controller = machine.controller
    controller.rendered(machine.now_ns - 9000 * MS, machine.now_ns - 8000 * MS, MAIN)
    rest_ms = min(3 * main_ms, 1000)
    machine.now_ns += (rest_ms - 1) * MS
    assert not controller.admit(machine.now_ns)
    machine.now_ns += MS
    assert controller.admit(machine.now_ns)


def test_answers_of_the_model_before_do_not_count_for_the_new_one():
    machine = Machine(100, has_fallback=True, main_ms=150, fallback_ms=30)
    machine.run(5)
    controller = machine.controller
    for _ in range(20):
        controller.rendered(machine.now_ns - 200 * MS, machine.now_ns - 150 * MS, MAIN)
    assert controller.figures().level == 0
    assert controller.figures().on_fallback


@pytest.mark.parametrize("bound", [0, -5, float("nan")])
def test_an_impossible_bound(bound):
    with pytest.raises(UsageError, match="is not valid"):
        LatencyController(bound)


@given(
    bound_ms=st.floats(20, 500),
    main_ms=st.floats(10, 600),
    fallback_ms=st.floats(10, 600),
    every_ms=st.floats(20, 100),
    queue_ms=st.floats(0, 200),
    has_fallback=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_it_never_starves_and_holds_what_can_be_held(
    bound_ms, main_ms, fallback_ms, every_ms, queue_ms, has_fallback
):
    machine = Machine(
        bound_ms, has_fallback=has_fallback, every_ms=every_ms, main_ms=main_ms, fallback_ms=fallback_ms
    )
    machine.queue_ms = queue_ms
    machine.run(60)
    latencies = machine.run(20)
    assert latencies  # a stream never falls silent
    if main_ms <= 0.95 * bound_ms or (has_fallback and fallback_ms <= 0.95 * bound_ms):
        # Steps down are tried now and then, and cost at most three late frames each.
        late = sum(latency > bound_ms for latency in latencies)
        assert late <= 0.1 * len(latencies) + 3 * 2 * len(PACES)
