"""Makes the README's animated image from the demo video: a small looping WebP.

    .venv/bin/edgevision run --source demo --output demo.mp4 --overwrite
    .venv/bin/python tools/demo_animation.py demo.mp4 docs/images/demo.webp

Pillow, which does the encoding, comes with scikit-image in the extra ``demo``.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from needed import installed

with installed():
    from PIL import Image

    from edgevision.errors import DataError, EdgeVisionError
    from edgevision.files import atomic_path
    from edgevision.video import open_source

LIMIT_BYTES = 2_000_000


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path, help="video file to read")
    parser.add_argument("out", type=Path, help="WebP file to write; one that is there is replaced")
    parser.add_argument("--width", type=int, default=560, help="of the image in pixels, default 560")
    parser.add_argument("--every", type=int, default=3, help="take every n-th frame, default 3")
    parser.add_argument("--quality", type=int, default=60, help="of WebP, 0 to 100, default 60")
    arguments = parser.parse_args()
    if min(arguments.width, arguments.every) < 1 or not 0 <= arguments.quality <= 100:
        parser.error("expected --width and --every of 1 or more, and a --quality of 0 to 100")
    try:
        count, size = animate(
            arguments.video, arguments.out, arguments.width, arguments.every, arguments.quality
        )
    except EdgeVisionError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{arguments.out}: {count} images, {size / 1e6:.2f} MB\n")
    return 0


def animate(video: Path, out: Path, width: int, every: int, quality: int) -> tuple[int, int]:
    """Writes the animation; returns how many images it has, and its bytes.

    Raises:
        EdgeVisionError: the video cannot be read, or gives one image, or more than :data:`LIMIT_BYTES`; the
            file is as it was then.
    """
    images, times = [], []
    with open_source(str(video)) as source:
        for frame in source:
            if frame.index % every:
                continue
            height = max(1, round(frame.height * width / frame.width))
            image = Image.fromarray(frame.image[:, :, ::-1])
            images.append(image.resize((width, height), Image.Resampling.LANCZOS))
            times.append(frame.time_s)
    if len(images) < 2:
        raise DataError(f"{video} gives {len(images)} images; expected 2 or more, try a smaller --every")
    encoded = io.BytesIO()
    images[0].save(
        encoded,
        format="WebP",
        save_all=True,
        append_images=images[1:],
        duration=round(1000 * (times[-1] - times[0]) / (len(times) - 1)),
        loop=0,
        quality=quality,
        method=6,
    )
    data = encoded.getvalue()
    if len(data) > LIMIT_BYTES:
        raise DataError(f"{len(data)} bytes is more than {LIMIT_BYTES}; lower --width or --quality")
    with atomic_path(out) as partial:
        partial.write_bytes(data)
    return len(images), len(data)


if __name__ == "__main__":
    sys.exit(main())
