"""The last ten minutes as numbers."""

from __future__ import annotations

from edgevision.web.history import History
from tests.support.pipeline import ledger_entry, run_statistics, stream_statistics


def test_rates_and_losses_are_of_the_step_before() -> None:
    written, dropped = [0], [0]

    def read():  # type: ignore[no-untyped-def]
        entry = ledger_entry(dropped={"latency": dropped[0]}, failed={})
        return run_statistics(stream_statistics("a", written=written[0], frames=entry, last_latency_ms=12.34))

    with History(read, step_s=3600, span_s=3 * 3600) as history:
        for now in range(5):
            written[0], dropped[0] = 50 * now, now * now
            history.sample(2.0 * now)
        curves = history.curves("a")
        assert curves.rate == [25.0, 25.0, 25.0]  # no more than the span
        assert curves.lost == [3, 5, 7]
        assert curves.latency_ms == [12.3] * 3
        assert len(curves.at_ms) == 3
        assert history.curves("other").rate == []


def test_a_stream_that_is_gone_is_forgotten_and_no_run_is_no_sample() -> None:
    runs = [None, run_statistics(stream_statistics("a")), run_statistics(stream_statistics("b"))]
    with History(lambda: runs[0], step_s=3600) as history:
        history.sample(0)
        del runs[0]
        history.sample(1)
        assert history.curves("a").lost == [0]
        del runs[0]
        history.sample(2)
        assert history.curves("a").lost == []
        assert history.curves("b").lost == [0]
