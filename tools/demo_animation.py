"""Makes the README's animated image from the demo video: a small looping WebP.

    .venv/bin/edgevision run --source demo --output demo.mp4 --overwrite
    .venv/bin/python tools/demo_animation.py demo.mp4 docs/images/demo.webp

Pillow, which does the encoding, comes with scikit-image in the extra ``demo``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from edgevision.video import open_source

LIMIT_BYTES = 2_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=560, help="pixels")
    parser.add_argument("--every", type=int, default=3, help="take every n-th frame")
    parser.add_argument("--quality", type=int, default=60)
    arguments = parser.parse_args()
    images, times = [], []
    with open_source(str(arguments.video)) as source:
        for frame in source:
            if frame.index % arguments.every:
                continue
            height = round(frame.height * arguments.width / frame.width)
            image = Image.fromarray(frame.image[:, :, ::-1])
            images.append(image.resize((arguments.width, height), Image.Resampling.LANCZOS))
            times.append(frame.time_s)
    duration_ms = round(1000 * (times[-1] - times[0]) / (len(times) - 1))
    images[0].save(
        arguments.out,
        save_all=True,
        append_images=images[1:],
        duration=duration_ms,
        loop=0,
        quality=arguments.quality,
        method=6,
    )
    size = arguments.out.stat().st_size
    if size > LIMIT_BYTES:
        arguments.out.unlink()
        raise SystemExit(f"{size} bytes is more than {LIMIT_BYTES}; lower --width or --quality")
    print(f"{arguments.out}: {len(images)} images, {size / 1e6:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
