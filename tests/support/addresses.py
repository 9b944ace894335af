"""Addresses with secrets for property tests: whatever a program prints must hold none of MARKERS."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from hypothesis import strategies as st

MARKERS = ("Zq7w", "Xv9k", "Jm4p", "Kx8u")
"""Every piece of a user name or password in these addresses, between signs."""

_SIGNS = "#/?@:;&=%\\'\"<> |,!$[]{}()*+`~^-_"
HOST = "127.0.0.1:9"
"""Refuses at once."""


@st.composite
def passwords(draw: st.DrawFn, signs: str = _SIGNS) -> str:
    """Markers with any signs between, before and behind them."""
    sign = st.text(st.sampled_from(signs), max_size=2)
    pieces = draw(st.lists(st.sampled_from(MARKERS[:3]), min_size=1, max_size=3))
    return draw(sign) + "".join(piece + draw(sign) for piece in pieces)


@st.composite
def addresses(draw: st.DrawFn, hosts: Sequence[str] = (HOST,)) -> str:
    """Addresses of cameras, well formed and mistyped."""
    host = draw(st.sampled_from(hosts))
    user = MARKERS[3]
    password = draw(passwords())
    key = draw(passwords(signs="-_.~"))
    plain = draw(passwords(signs="!$*+-_.,'\" "))
    login = f"{user}:{password}@{host}/live"
    return draw(
        st.sampled_from(
            [
                f"rtsp://{login}",
                f"RTSP://{login}",
                f" rtsp://{login}",
                f"http://{login}",
                f"rtps://{login}",
                f"rtsp:/{login}",
                f"rtsp//{login}",
                f"rtsp:\\\\{login}",
                f"chaos://rtsp://{login}?drop=0.1",
                f"chaos://rtsp://{login}",
                f"rtsp://{login}#transport=udp",
                f"rtsp://{host}/user={user}_password={password}_channel=1.sdp",
                f"rtsp://{host}/user={user}&password={password}&channel=1",
                f"http://{host}/video.cgi?user={user}&pwd={password}",
                f"http://{host}/video.cgi?pwd={password}&size=1#timeout=1s",
                f"rtmp://{login}",
                f"rtmp://{host}/live/{user}{key}",
                f"rtmps://{host}/live/room/{user}{key}?{key}=1",
                f"rtmp:/{host}/live/{user}{key}",
                f"rtsp://{user}%3A{quote(password, safe='')}%40{host}/live",
                quote(f"rtsp://{user}:{password}@{host}/live", safe=""),
                f"{user}:{plain}@{host}/live",
                f'gst://rtspsrc location="rtsp://{user}:{plain}@{host}/live" ! fakesink',
                f"gst://rtspsrc user-id={user} user-pw = '{plain}' ! fakesink",
            ]
        )
    )


@st.composite
def broker_addresses(draw: st.DrawFn) -> str:
    """Addresses of brokers, well formed and mistyped."""
    login = f"{MARKERS[3]}:{draw(passwords())}@{HOST}/site"
    return draw(st.sampled_from([f"mqtt://{login}", f"MQTT://{login}", f"mqt://{login}", f"mqtt:/{login}"]))
