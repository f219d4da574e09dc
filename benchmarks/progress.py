"""How far a run is: a bar on a terminal where rich is installed, a line now and then elsewhere; on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

SECONDS = 10.0  # between lines


@contextmanager
def progress(labels: Sequence[str]) -> Iterator[Callable[[int], None]]:
    """A function to be called with the number of each part, in order, when it begins."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        rich = False
    else:
        rich = sys.stderr.isatty()
    if not rich:
        yield _lines(labels)
        return
    from rich.console import Console

    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(compact=True), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(labels))
        yield lambda number: bar.update(task, completed=number, description=labels[number])


def _lines(labels: Sequence[str]) -> Callable[[int], None]:
    last = 0.0

    def show(number: int) -> None:
        nonlocal last
        if perf_counter() - last > SECONDS:
            last = perf_counter()
            print(f"{number + 1}/{len(labels)} {labels[number]}", file=sys.stderr, flush=True)

    return show
