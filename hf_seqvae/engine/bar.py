"""The progress bar: where training is, and the last figures of the log (rich)."""

from collections.abc import Mapping
from typing import Any

from hf_seqvae.engine.progress import Progress


class ProgressBar:
    """A bar with elbo, nll, kl, beta and tokens/s, drawn at most four times a second.

    The figures change with the lines of the log: in between nothing is read from the device.

    Args:
        console: a rich Console; None makes one.
    """

    def __init__(self, console: Any = None) -> None:
        self.console = console
        self._bar: Any = None
        self._task: Any = None

    def start(self, progress: Progress, num_steps: int | None) -> None:
        """Show the bar, at the step a resumed run begins with."""
        from rich.progress import (  # rich is not needed to import the engine
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=4,
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(
            "training", total=num_steps, completed=progress.step, figures=""
        )

    def step(self) -> None:
        """One step further."""
        self._bar.advance(self._task)

    def line(self, line: Mapping[str, Any]) -> None:
        """Show the figures; those of a validation stay above the bar."""
        if "train/elbo" in line:
            self._bar.update(self._task, figures=_training_text(line))
        else:
            self._bar.console.print(_validation_text(line), highlight=False)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _training_text(line: Mapping[str, Any]) -> str:
    return (
        f"elbo {line['train/elbo']:.2f}  nll {line['train/reconstruction_nll']:.2f}  "
        f"kl {line['train/kl']:.2f}  beta {line['train/beta']:.3g}  "
        f"{line['train/tokens_per_second']:,.0f} tokens/s"
    )


def _validation_text(line: Mapping[str, Any]) -> str:
    figures = "  ".join(
        f"{name.removeprefix('eval/')} {value:.3f}"
        for name, value in line.items()
        if name.startswith("eval/")
    )
    return f"epoch {line['epoch']:g}  step {line['step']}  validation  {figures}"
