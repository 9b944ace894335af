"""Which frames of a stream stay: distinct ones, far apart, shared fairly, never more than a fixed number."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from edgevision.data.perceptual import NEAR_IDENTICAL, bit_distances

_ALONE = 255  # The distance of a frame that has no other of its source to compare with.


class Spread:
    """A set of at most ``capacity`` frames, known by their perceptual hashes and kept in numbered slots.

    A frame that is nearly identical to one that is there is not taken. When the set is full, the source
    with the most frames gives one up: of its two most alike, the one that the seed picks. So one
    pass over any stream, in memory that depends on ``capacity`` alone, leaves every source an equal share
    as long as it has that many, and each source's frames spread over all that it showed: an hour of an empty
    street and a minute of traffic are not kept sixty to one, as a random sample would keep them.

    Args:
        capacity: the most frames.
        seed: decides which of two like frames stays.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self._seed = seed
        self._size = 0
        self._codes = np.zeros(capacity, np.uint64)
        self._owners = np.zeros(capacity, np.int64)
        self._lots = np.zeros(capacity, np.uint64)
        self._nearest = np.zeros(capacity, np.uint8)  # bits to the most alike frame of the same source

    def __len__(self) -> int:
        return self._size

    def count(self, owner: int) -> int:
        """How many frames of one source are in the set."""
        return int((self._owners[: self._size] == owner).sum())

    def offer(self, code: int, owner: int) -> int | None:
        """Decides about one frame.

        Args:
            code: its perceptual hash.
            owner: number of its source.

        Returns:
            The slot to put it in, in place of the frame that may be there; None where it is not taken.
        """
        distances = bit_distances(code, self._codes[: self._size])
        if distances.min(initial=_ALONE) <= NEAR_IDENTICAL:
            return None
        slot = self._size
        if slot == len(self._codes):
            victim = self._victim(code, owner, distances)
            if victim is None:
                return None
            slot = victim
        self._place(slot, code, owner)
        return slot

    def _victim(self, code: int, owner: int, distances: NDArray[np.uint8]) -> int | None:
        """The slot to give up for a new frame; None where the new frame itself is the one to go."""
        shares = np.bincount(self._owners, minlength=owner + 1)
        shares[owner] += 1
        loser = int(shares.argmax())
        members = np.flatnonzero(self._owners == loser)
        nearest = self._nearest[members]
        if loser == owner:
            own = distances[members]
            if own.size == 0 or own.min() <= nearest.min():  # the new frame is one of the two most alike
                rival = int(members[own.argmin()]) if own.size else None
                return rival if rival is not None and self._lots[rival] > self._lot(code) else None
        pair = members[nearest == nearest.min()]
        return int(pair[self._lots[pair].argmax()])

    def _place(self, slot: int, code: int, owner: int) -> None:
        gone = (int(self._codes[slot]), int(self._owners[slot])) if slot < self._size else None
        self._size = max(self._size, slot + 1)
        self._codes[slot], self._owners[slot], self._lots[slot] = code, owner, self._lot(code)
        others = self._others(slot)
        distances = bit_distances(code, self._codes[others])
        self._nearest[slot] = distances.min(initial=_ALONE)
        self._nearest[others] = np.minimum(self._nearest[others], distances)
        if gone is None:
            return
        left = np.flatnonzero(self._owners[: self._size] == gone[1])
        orphans = left[self._nearest[left] == bit_distances(gone[0], self._codes[left])]
        for one in orphans:
            remaining = bit_distances(int(self._codes[one]), self._codes[self._others(int(one))])
            self._nearest[one] = remaining.min(initial=_ALONE)

    def _others(self, slot: int) -> NDArray[np.int64]:
        """The other frames of the same source."""
        same = self._owners[: self._size] == self._owners[slot]
        same[slot] = False
        return np.flatnonzero(same)

    def _lot(self, code: int) -> int:
        # Drawn from the frame itself, not from a running generator: no frame changes the draw for another.
        drawn = hashlib.blake2b(f"{self._seed}:{code}".encode(), digest_size=8)
        return int.from_bytes(drawn.digest(), "big")
