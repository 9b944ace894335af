"""The choice of frames, against the rule written out in the slowest and plainest way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.calibration.sampling.spread import Spread
from edgevision.data.perceptual import NEAR_IDENTICAL

# Codes of a few bits, so that near ones and ties abound.
codes = st.integers(0, 2**14 - 1)
streams = st.lists(st.tuples(codes, st.integers(0, 2)), max_size=60).map(
    lambda offers: sorted(offers, key=lambda offer: offer[1])  # one source after another
)


def bits(first: int, second: int) -> int:
    return (first ^ second).bit_count()


def choose(offers: list[tuple[int, int]], capacity: int, seed: int) -> dict[int, tuple[int, int]]:
    spread = Spread(capacity, seed)
    held: dict[int, tuple[int, int]] = {}
    for code, owner in offers:
        slot = spread.offer(code, owner)
        if slot is not None:
            assert 0 <= slot < capacity
            held[slot] = (code, owner)
        assert len(spread) == len(held) <= capacity
    for owner in range(3):
        assert spread.count(owner) == sum(held_by == owner for _, held_by in held.values())
    return held


@given(streams, st.integers(1, 12), st.integers(0, 5))
def test_never_more_than_asked_and_never_two_alike(
    offers: list[tuple[int, int]], capacity: int, seed: int
) -> None:
    kept = [code for code, _ in choose(offers, capacity, seed).values()]
    for i, first in enumerate(kept):
        assert all(bits(first, second) > NEAR_IDENTICAL for second in kept[:i])
    assert bool(kept) == bool(offers)


@given(streams, st.integers(1, 12), st.integers(0, 5))
@settings(max_examples=200)
def test_each_frame_that_leaves_is_one_of_the_two_most_alike_of_the_largest_source(
    offers: list[tuple[int, int]], capacity: int, seed: int
) -> None:
    spread = Spread(capacity, seed)
    held: dict[int, tuple[int, int]] = {}
    for offer in offers:
        before = dict(held)
        slot = spread.offer(*offer)
        twin = any(bits(offer[0], code) <= NEAR_IDENTICAL for code, _ in before.values())
        if twin:
            assert slot is None
        elif len(before) < capacity:
            assert slot is not None
            assert slot not in before
            held[slot] = offer
        else:
            crowd = [*before.values(), offer]
            gone = offer if slot is None else before[slot]
            sizes = {owner: sum(one == owner for _, one in crowd) for owner in range(3)}
            assert sizes[gone[1]] == max(sizes.values())
            fellows = [code for code, owner in crowd if owner == gone[1]]
            gaps = [bits(a, b) for i, a in enumerate(fellows) for b in fellows[:i]]
            own = [bits(gone[0], code) for code in fellows if code != gone[0]]
            assert not gaps or min(own) == min(gaps)
            if slot is not None:
                held[slot] = offer


@given(st.lists(codes, min_size=1, max_size=40), st.integers(0, 3))
def test_the_seed_decides_and_nothing_else_does(stream: list[int], seed: int) -> None:
    offers = [(code, 0) for code in stream]
    assert choose(offers, 5, seed) == choose(offers, 5, seed)


def test_other_seeds_keep_other_frames() -> None:
    # Eight codes at the corners of a cube whose edges are six bits: every pair of neighbours is alike.
    corners = [sum(0x3F << 8 * axis for axis in range(3) if corner >> axis & 1) for corner in range(8)]
    kept = {frozenset(choose([(code, 0) for code in corners], 4, seed).values()) for seed in range(10)}
    assert len(kept) > 3


def test_a_rare_scene_is_kept_among_many_common_ones() -> None:
    """Six codes six bits or less apart, and one that is like none of them, wherever it comes."""
    street = [0x3F << 6 * i for i in range(5)] + [0]
    rare = 0xFFFF << 44
    for place in range(7):
        stream = [*street[:place], rare, *street[place:]]
        assert (rare, 0) in choose([(code, 0) for code in stream], 3, seed=place).values()


def test_sources_share_equally_and_what_one_lacks_the_others_give() -> None:
    def scenes(first: int, count: int) -> list[int]:
        # A Reed-Muller-like spread: each number's byte eight times over, so distinct bytes are 8 bits apart.
        return [int.from_bytes(bytes([first + i]) * 8, "big") for i in range(count)]

    offers = [(code, 0) for code in scenes(0, 40)]
    offers += [(code, 1) for code in scenes(40, 2)]
    offers += [(code, 2) for code in scenes(80, 40)]
    owners = [owner for _, owner in choose(offers, 12, 0).values()]
    assert [owners.count(owner) for owner in range(3)] == [5, 2, 5]
