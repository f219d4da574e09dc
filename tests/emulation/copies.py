"""Copies of cp.async: from global to shared memory that land only where a thread waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .memory import Space

if TYPE_CHECKING:
    from .batch import Batch
    from .steps import Lanes


@dataclass
class Copy:
    """One instruction's copies on their way: for each thread where to, what, and the group they were begun in."""

    lanes: np.ndarray
    places: np.ndarray
    data: np.ndarray
    groups: np.ndarray


class Copies:
    """All copies of a batch that are under way."""

    def __init__(self, batch: Batch) -> None:
        """Batch: whose threads copy."""
        self.batch = batch
        self.begin()

    def begin(self) -> None:
        """None yet."""
        self.under_way: list[Copy] = []
        self.committed = np.zeros(self.batch.count, np.int64)  # groups that each thread has closed

    def commit(self, lanes: Lanes) -> None:
        """Close the groups of these threads."""
        self.committed[slice(None) if lanes is None else lanes] += 1

    def wait(self, lanes: Lanes, open_groups: int) -> None:
        """Let all groups of these threads land but the last ones; -1: what is in no group too."""
        waits = np.full(self.batch.count, lanes is None)
        if lanes is not None:
            waits[lanes] = True
        kept = []
        for copy in self.under_way:
            lands = waits[copy.lanes] & (copy.groups < self.committed[copy.lanes] - open_groups)
            if lands.all():
                self.land(copy)
            elif lands.any():
                self.land(Copy(copy.lanes[lands], copy.places[lands], copy.data[lands], copy.groups[lands]))
                rest = ~lands
                kept.append(Copy(copy.lanes[rest], copy.places[rest], copy.data[rest], copy.groups[rest]))
            else:
                kept.append(copy)
        self.under_way = kept

    def land(self, copy: Copy) -> None:
        """Write what was copied."""
        size = copy.data.shape[1] * copy.data.itemsize
        shared = self.batch.spaces["shared"]
        rows(shared, size)[copy.places // size] = copy.data
        self.batch.races.landed(copy.places, copy.lanes, size)


def rows(space: Space, size: int) -> Any:
    """A memory in pieces of so many bytes."""
    return space.views[4].reshape(-1, size // 4)
