"""``python -m edgevision``, and the program ``edgevision``."""

from __future__ import annotations

import sys


def main() -> None:
    """Loads the command line and runs it; Ctrl-C while it still loads is one line, too."""
    try:
        from edgevision.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
