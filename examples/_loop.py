"""What the recipes share that train without `nn.fit`: the loop, predictions in parts, and the file of a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _recipe import bar

from upconv import nn
from upconv.nn.files import write
from upconv.nn.preview import as_png


def minimise(model: nn.Module, loss: Callable[[], nn.Tensor], steps: int, *, lr: float, text: str = "") -> None:
    """Adam, whose learning rate falls along a cosine; `loss` draws a batch and gives its loss. text: of the bar.

    Ctrl-C ends the recipe.
    """
    optimizer = nn.Adam(model.parameters(), lr=lr)
    try:
        for step in bar(steps, text) if text else range(steps):
            optimizer.lr = lr * nn.schedules.cosine(step + 1, steps)
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def outputs(function: Callable[[Any], nn.Tensor], images: np.ndarray, batch: int = 256) -> np.ndarray:
    """What a model gives for many images, a batch at a time."""
    with nn.no_grad():
        return np.concatenate([function(images[i : i + batch]).data for i in range(0, len(images), batch)])


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, as_png(figure))
    print(f"\nThe figure is {path}")
