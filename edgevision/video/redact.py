"""Messages of libraries without the secrets of addresses; see :mod:`edgevision.address`."""

from edgevision.address import redact

__all__ = ["redact"]
