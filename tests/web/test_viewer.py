"""A viewer's queue: bounded, cut at key frames, and the newest of JPEGs."""

from __future__ import annotations

import asyncio

import pytest

from edgevision.web.viewer import Piece, Viewer


def piece(size: int, is_key: bool = False, is_init: bool = False) -> Piece:
    return Piece(bytes(size), is_key=is_key, is_init=is_init)


def test_a_viewer_that_does_not_read_is_cut_at_key_frames() -> None:
    async def run() -> None:
        viewer = Viewer("h264")
        viewer.offer(piece(100, is_init=True))
        for number in range(40):
            viewer.offer(piece(2**18, is_key=number % 10 == 0))
        assert viewer.lost > 0
        got = []
        while viewer._pieces:
            got.append(await viewer.next())
        assert len(got[0] or b"") == 100  # it still begins with the description
        assert sum(len(one or b"") for one in got) <= 4 * 2**20 + 100
        assert viewer.sent + viewer.lost == 40
        viewer.end()
        assert await viewer.next() is None

    asyncio.run(run())


def test_a_viewer_of_jpegs_gets_the_newest_and_never_more_than_it_shows() -> None:
    async def run() -> None:
        viewer = Viewer("jpeg")
        for size in (1, 2, 3):
            viewer.offer(piece(size))
        assert len(await viewer.next() or b"") == 3
        viewer.offer(piece(4))
        assert len(await viewer.next() or b"") == 4
        viewer.offer(piece(5))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(viewer.next(), 0.05)
        viewer.shown()
        assert len(await viewer.next() or b"") == 5
        assert viewer.lost == 2

    asyncio.run(run())
