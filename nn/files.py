"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

Pathlike = str | os.PathLike[str]


def write(path: Pathlike, content: bytes) -> None:
    """Write `content` beside `path`, then rename it: whoever reads `path` finds the old file or the new one, whole.

    Raises OSError where the disk refuses; then the old file is as it was, and nothing is left beside it.
    """
    with replacing(path) as beside, beside.open("xb") as file:
        file.write(content)


@contextmanager
def replacing(path: Pathlike) -> Iterator[Path]:
    """The name of a file to be written beside `path`, whose place it takes at the end; not if anything is raised."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Delete what `write` leaves beside its files when the process is killed."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.[0-9a-f]{32}\.tmp", path.name):
            path.unlink(missing_ok=True)
