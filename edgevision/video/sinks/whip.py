"""WHIP (RFC 9725): the address, its token, and a certificate for the encrypted session.

FFmpeg makes a certificate itself. Built with GnuTLS, as in PyAV's wheels, its key is on the curve P-224,
which OpenSSL refuses (tried with aiortc), so that no session begins. Every WebRTC peer takes P-256 (RFC
8827).
"""

from __future__ import annotations

import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from edgevision.extras import needs_extra

_WHAT = "a stream to a WHIP server"
_DAYS = 3650  # longer than any run


def whip_target(text: str) -> tuple[str, dict[str, str]]:
    """Where to send to, and with which options of the muxer.

    Args:
        text: ``whip+https://TOKEN@host/path``; the token is sent as ``Authorization: Bearer TOKEN``.

    Raises:
        UsageError, DependencyError: the extra ``whip`` is missing or broken.
    """
    with needs_extra("whip", _WHAT):
        import cryptography  # noqa: F401
    parts = urlsplit(text.removeprefix("whip+"))
    login, _, host = parts.netloc.rpartition("@")
    token = unquote(login.rpartition(":")[2])
    place = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return place, {"authorization": token} if token else {}


def write_certificate(folder: Path) -> dict[str, str]:
    """A certificate of its own, as options of the muxer.

    The server knows it by its fingerprint, which goes with the offer over HTTPS.

    Args:
        folder: nobody else can read it.
    """
    with needs_extra("whip", _WHAT):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgevision")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files = {"cert_file": folder / "certificate.pem", "key_file": folder / "key.pem"}
    files["cert_file"].write_bytes(certificate.public_bytes(pem))
    files["key_file"].write_bytes(key.private_bytes(pem, *unencrypted))
    return {option: str(path) for option, path in files.items()}
