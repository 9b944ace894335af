"""``edgevision lr-find``: which learning rate to train with."""

from __future__ import annotations

from pathlib import Path

import typer

from edgevision.cli.options import SET_OPTION, ConfigArgument, OverwriteOption, ThreadsOption


def lr_find_command(
    config: ConfigArgument,
    overrides: list[str] = SET_OPTION,
    out: Path | None = typer.Option(None, "--out", help="Draw loss over rate into this PNG."),
    overwrite: OverwriteOption = False,
    low: float = typer.Option(1e-6, "--low", help="First rate."),
    high: float = typer.Option(1.0, "--high", help="Last rate."),
    steps: int = typer.Option(100, "--steps", min=20, help="At most this many batches."),
    threads: ThreadsOption = None,
) -> None:
    """Test learning rates from low to high on a few batches, and suggest one.

    The rate where the loss falls fastest is printed last, with a warning where the loss hardly falls; the
    run's own weights are not touched.

    \b
    Examples:
      edgevision lr-find configs/models/retinanet-light.yaml --out rates.png
      edgevision train configs/models/retinanet-light.yaml --set optimiser.lr=0.002
    """
    from edgevision.errors import UsageError
    from edgevision.extras import needs_extra
    from edgevision.files import refuse_existing

    if out is not None:
        if out.suffix.lower() != ".png":
            raise UsageError(f"--out {out}: expected a file name that ends in .png")
        refuse_existing(out, overwrite)
    with needs_extra("train"):
        import torch

        from edgevision.training.config import load_run
        from edgevision.training.distributed import World
        from edgevision.training.lr_find import find_rate, plot_rates
        from edgevision.training.tasks import build_task

    from rich.console import Console

    from edgevision.cli.console import say

    if threads is not None:
        torch.set_num_threads(threads)
    run = load_run(config, overrides)
    console = Console(stderr=True)

    def on_step(step: int, rate: float, loss: float) -> None:
        if step % 10 == 0:
            console.print(f"step {step}  rate {rate:.1e}  loss {loss:.4f}", highlight=False)

    world = World(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    curve = find_rate(run, build_task(run), world, low, high, steps, on_step)
    if out is not None:
        plot_rates(curve, out)
        console.print(f"curve in {out}", highlight=False)
    if not curve.is_clear:
        say(
            console,
            f"warning: the loss fell by only {curve.fall:.0%}, and batches differ by {curve.noise:.0%}: the "
            "suggestion is unreliable; try a higher --high, more --steps or a larger loop.batch_size",
        )
    typer.echo(
        f"the loss falls by {curve.fall:.0%} and is lowest at {curve.lowest:.1e}; "
        f"suggested: optimiser.lr={curve.suggestion:.1e}"
    )
