"""What is shown while a network trains or predicts: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Any, Self

from upconv._extras import require

from .trainer import Step

SECONDS = 10.0  # between lines where there is no terminal


class Shown:
    """What may show a bar of rich until it is left."""

    bar: Any = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar."""
        if self.bar:
            self.bar.stop()


class Progress(Shown):
    """Bar, loss, Dice and the time left on a rich `console`: a context manager whose `show` is `train`'s on_step."""

    def __init__(self, steps: int, console: Any, watched_as: str = "test") -> None:
        """steps: how many there will be; watched_as: what the images are that are predicted now and then."""
        self.steps, self.console, self.watched_as = steps, console, watched_as
        self.last = perf_counter()
        self.first: tuple[int, float] | None = None  # the first step here, and when it was done
        self.watched = ""

    def __enter__(self) -> Self:
        """Start the bar."""
        if not self.console.is_terminal:
            return self
        rich = require("rich.progress", extra="train")
        self.bar = rich.Progress(
            rich.SpinnerColumn(),
            rich.TextColumn("{task.completed:>4.0f}/{task.total:.0f}"),
            rich.BarColumn(bar_width=None),
            rich.TextColumn("{task.description}"),
            rich.TimeRemainingColumn(compact=True),
            console=self.console,
            expand=True,
        )
        self.task = self.bar.add_task("first step", total=self.steps)
        self.bar.start()
        return self

    def show(self, step: Step) -> None:
        """One step is done."""
        if step.validation_dice is not None:
            self.watched = f" · {self.watched_as} Dice {step.validation_dice:.3f}"
        text = f"loss {step.loss:.3f} · Dice {step.dice:.3f}{self.watched}"
        if self.bar:
            self.bar.update(self.task, completed=step.step, description=text)
            return
        now = perf_counter()
        if self.first is None:
            self.first = step.step, now  # what comes before is compilation, and says nothing about the steps to come
        first, start = self.first
        if step.step in (first, self.steps) or step.validation_dice is not None or now - self.last > SECONDS:
            self.last = now
            left = (now - start) / (step.step - first) * (self.steps - step.step) if step.step > first else None
            self._line(f"step {step.step}/{self.steps} · {text}" + ("" if left is None else f" · {left:.0f} s left"))

    def _line(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)


class Tiles(Shown):
    """How much of an image is predicted: a context manager whose `show` is `predict`'s on_tile.

    A bar on a terminal, a line now and then elsewhere; neither where there is one tile alone.
    """

    def __init__(self, console: Any) -> None:
        """console: one of rich."""
        self.console, self.last = console, perf_counter()

    def __enter__(self) -> Self:
        """Wait for the first tile."""
        return self

    def show(self, done: int, tiles: int) -> None:
        """So many tiles are done."""
        if tiles == 1:
            return
        if self.console.is_terminal:
            if self.bar is None:
                self.bar = require("rich.progress", extra="train").Progress(console=self.console, transient=True)
                self.task = self.bar.add_task("tiles", total=tiles)
                self.bar.start()
            self.bar.update(self.task, completed=done)
        elif perf_counter() - self.last > SECONDS:
            self.last = perf_counter()
            self.console.print(f"tile {done}/{tiles}", soft_wrap=True, markup=False, highlight=False)
