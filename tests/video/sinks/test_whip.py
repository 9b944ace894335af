"""WHIP against a real WebRTC peer: every image arrives, the token is sent, and the session is ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgevision.errors import UsageError
from edgevision.video.sinks.network import NetworkSink, target_of
from edgevision.video.sinks.whip import whip_target, write_certificate
from tests.support.broker import wait_until
from tests.support.whip_peer import Peer
from tests.video.sinks.test_network import LIVE, number_in, write_all

pytest.importorskip("cryptography", reason="needs the extra 'whip'")


@contextmanager
def endpoint() -> Iterator[Peer]:
    peer = Peer(number_in)
    try:
        yield peer
    finally:
        peer.close()


def test_a_webrtc_peer_gets_the_images_and_the_token() -> None:
    pytest.importorskip("aiortc", reason="needs aiortc, of the development tools")
    with endpoint() as peer:
        target = target_of(f"whip+http://s3cret@127.0.0.1:{peer.server.server_port}/whip")
        assert "s3cret" not in target.name
        with NetworkSink(target, LIVE) as sink:
            write_all(sink, 3)
            wait_until(lambda: sink.sent > 0, "the session", 30)
            write_all(sink, 30, start=100, rate=25.0)
            wait_until(lambda: len(peer.numbers) > 20, "images", 20)
            folder = sink._folder
        assert folder is not None
        assert not Path(folder.name).exists()
        assert peer.numbers == sorted(peer.numbers)
        assert peer.numbers[-1] >= 120
        assert sink.made == sink.sent + sink.unsent == 33
        wait_until(lambda: peer.requests[-1:] == [("DELETE", "Bearer s3cret")], "the end of the session", 10)
        assert peer.requests[0] == ("POST", "Bearer s3cret")


def test_the_address_and_its_token() -> None:
    assert whip_target("whip+https://host:8443/a/whip?x=1") == ("https://host:8443/a/whip?x=1", {})
    assert whip_target("whip+https://t%40k@host/whip") == ("https://host/whip", {"authorization": "t@k"})


def test_the_certificate_has_a_curve_that_every_peer_takes(tmp_path: Path) -> None:
    from cryptography import x509

    options = write_certificate(tmp_path)
    certificate = x509.load_pem_x509_certificate(Path(options["cert_file"]).read_bytes())
    assert certificate.public_key().curve.name == "secp256r1"  # type: ignore[union-attr]
    assert "PRIVATE KEY" in Path(options["key_file"]).read_text()


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match=r"a stream to a WHIP server needs cryptography.*\[whip\]"):
        target_of("whip+https://host/whip")
