"""``edgevision explain``: where a classifier looks in an image."""

from __future__ import annotations

from pathlib import Path

import typer

from edgevision.cli.options import OverwriteOption


def explain_command(
    checkpoint: str = typer.Argument(..., help="A classifier's checkpoint (.pt) of 'edgevision train'."),
    image: Path = typer.Argument(..., help="The image."),
    out: Path = typer.Option(..., "--out", help="The PNG to write."),
    classes: str | None = typer.Option(
        None,
        "--classes",
        help="Class names separated by commas, side by side; default: the most probable one.",
    ),
    overwrite: OverwriteOption = False,
) -> None:
    """Draw which places of an image speak for a class (Grad-CAM): red most, blue not at all.

    \b
    Examples:
      edgevision explain runs/multi-label/best.pt street.jpg --out where.png
      edgevision explain runs/multi-label/best.pt street.jpg --classes person,car --out where.png
    """
    from edgevision.errors import SinkError, UsageError
    from edgevision.extras import needs_extra
    from edgevision.files import atomic_path, refuse_existing

    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: expected a file name that ends in .png")
    refuse_existing(out, overwrite)
    with needs_extra("train"):
        from edgevision.training.checkpoint import find_checkpoint, load_checkpoint
        from edgevision.training.explain import explain

    import cv2
    import numpy as np

    from edgevision.data.images import decode_image

    wanted = [name.strip() for name in (classes or "").split(",") if name.strip()]
    found = explain(load_checkpoint(find_checkpoint(checkpoint)), decode_image(image), wanted)
    is_encoded, content = cv2.imencode(".png", np.concatenate([one.image for one in found], axis=1))
    if not is_encoded:
        raise SinkError(f"cannot encode {out}")
    with atomic_path(out) as partial:
        partial.write_bytes(content.tobytes())
    shown = ", ".join(f"{one.name} {one.score:.2f}" for one in found)
    typer.echo(f"{out}: {shown}")
