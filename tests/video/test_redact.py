import pytest

from edgevision.video.redact import redact

SIGNS = ["12345#", "1234#56", "1234/56", "1234?56", "#12345", "/12345", "?12345", "12345/", "p@ss:w#r/d"]
QUOTES = ["it's<me>", 'pa"ss', "pa ss", "a<b>c", "p@ss#word", "p@ss/word", "a@b/c@d"]


@pytest.mark.parametrize("password", [*SIGNS, *QUOTES])
def test_passwords_written_raw(password):
    uri = f"rtsp://admin:{password}@192.0.2.1:554/live"
    for shown in (redact(uri), redact(f"cannot open {uri}", uri)):
        assert shown.endswith("rtsp://192.0.2.1:554/live")
        assert "admin" not in shown
        assert password not in shown
