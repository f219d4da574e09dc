"""The files that a training leaves in its folder, each complete or not there at all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from upconv import __version__, configuration
from upconv._extras import require

from ..errors import InputError
from . import checkpoint
from .curves import progress
from .files import tidy, write
from .io import check_registered, load, save
from .trainer import Step, Trainer

CHECKPOINT, LAST, BEST, ROWS = "checkpoint.safetensors", "model.safetensors", "best.safetensors", "metrics.csv"
CONFIGURATION, CURVES = "config.toml", "progress.png"
SHARE = 0.02  # of the time may go into drawing the curves
PACKAGES = ("safetensors.numpy", "PIL.Image", "matplotlib.figure", "tomli_w")


class Record:
    """The folder of a training: metrics.csv a row a step, checkpoints, models, curves. A context manager."""

    def __init__(self, folder: Path, trainer: Trainer, *, resume: bool, config: Mapping[str, Any]) -> None:
        """Begin a new record, in place of an older one, or go on with it: then the trainer is where its checkpoint is.

        config: what config.toml holds beside the settings. Raises InputError where the folder cannot be written, or
        what it holds cannot be used.
        """
        for module in PACKAGES:
            require(module, extra="train")  # what is written with: better missed now than at the end
        if trainer.settings.tensorboard:
            require("tensorboardX", extra="tensorboard")
        check_registered(trainer.model)
        self.folder, self.trainer, self.history = folder, trainer, list[Step]()
        self._saved, self._drawn, self._cost = 0, perf_counter(), 0.1  # seconds that a drawing takes, a guess
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tidy(folder)
            if resume and (folder / CHECKPOINT).exists():
                self._go_on()
            else:
                for name in (CHECKPOINT, BEST):  # of another training
                    (folder / name).unlink(missing_ok=True)
            write(folder / CONFIGURATION, configuration.text({**config, **asdict(trainer.settings)}).encode())
            write(folder / ROWS, _rows(self.history).encode())
            self._file = (folder / ROWS).open("a", newline="", buffering=1)  # a row reaches the file whole, at once
        except OSError as error:
            raise InputError(f"cannot write to the folder {folder}: {error.strerror}") from error
        self._board: Any = None
        if trainer.settings.tensorboard:
            writer = require("tensorboardX", extra="tensorboard").SummaryWriter
            apart = f".{trainer.done}"  # files are named by the second: two may begin in one
            self._board = writer(str(folder / "tensorboard"), purge_step=trainer.done + 1, filename_suffix=apart)

    def __enter__(self) -> Self:
        """Ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._file.close()
        if self._board:
            self._board.close()

    def step(self, step: Step) -> None:
        """Note a step; where images were evaluated keep the best weights and, not too often, draw."""
        self.history.append(step)
        csv.writer(self._file, lineterminator="\n").writerow(_cells(step))
        if self._board:
            for name in ("loss", "dice", "validation_dice", "learning_rate"):
                if (value := getattr(step, name)) is not None:
                    self._board.add_scalar(name, value, step.step)
        if step.validation_dice is not None:
            if self.trainer.waited == 0 and self.trainer.best_state is not None:
                self._save(BEST)
            if perf_counter() - self._drawn > self._cost / SHARE:
                self.draw()

    def checkpoint(self) -> None:
        """Keep all that it takes to go on from here, unless it is kept already."""
        if self.trainer.done > self._saved:
            self.trainer.check_weights()
            self._save(LAST)
            checkpoint.save(self.trainer, self.folder / CHECKPOINT)
            self._saved = self.trainer.done

    @property
    def model_file(self) -> Path | None:
        """The model of the last checkpoint, if there is one."""
        return self.folder / LAST if self._saved else None

    def finish(self) -> Path:
        """Write the final model and the final curves."""
        self.draw()
        return self._save(LAST)

    def draw(self) -> None:
        """Draw the curves, and what the network makes of images that are watched."""
        start = perf_counter()
        progress(self.folder / CURVES, self.trainer, self.history)
        self._drawn = perf_counter()
        self._cost = self._drawn - start

    def _save(self, name: str) -> Path:
        trainer = self.trainer
        origin = {
            "trained_on": trainer.data.title,
            "settings": json.dumps(asdict(trainer.settings)),
            "upconv.version": __version__,
        }
        save(trainer.model, self.folder / name, origin)
        return self.folder / name

    def _go_on(self) -> None:
        """Restore the trainer, the best weights where they matter, and the rows up to its step: others come again."""
        checkpoint.restore(self.trainer, self.folder / CHECKPOINT)
        self._saved = self.trainer.done
        if self.trainer.settings.early_stopping and not math.isnan(self.trainer.best):
            try:
                self.trainer.best_state = load(self.folder / BEST).state_dict()
            except (OSError, ValueError) as error:
                raise InputError(f"cannot resume: {str(error).removeprefix('load: ')}") from error
        self.history = [step for step in _read(self.folder / ROWS) if step.step <= self.trainer.done]


def _cells(step: Step) -> list[Any]:
    return ["" if value is None else value for value in astuple(step)]


def _rows(history: list[Step]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(field.name for field in fields(Step))
    rows.writerows(_cells(step) for step in history)
    return text.getvalue()


def _read(path: Path) -> list[Step]:
    """The rows that are whole."""
    found = []
    for cells in csv.reader(path.read_text().splitlines()) if path.exists() else []:
        try:
            step, *numbers = (None if cell == "" else float(cell) for cell in cells)
            found.append(Step(int(step), *numbers))  # type: ignore[arg-type]  # what is not a row fails
        except (TypeError, ValueError):
            continue
    return found
