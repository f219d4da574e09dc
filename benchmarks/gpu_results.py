"""What measurements on a GPU leave behind: their numbers as JSON, and a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from upconv.nn.files import write

from .options import table
from .results import OURS

SCHEMA = 1
THEIRS, GRAPH = "PyTorch NHWC", ", CUDA graph"
UNITS = {"copy": "GB/s, read and written, of a copy", "fp32": "GFLOP/s in fp32", "tf32": "GFLOP/s in tf32"}
HEAD = ["case", "operator", "precision", "variant", "upconv ms", "of the ceiling", "PyTorch ms", "ratio"]


@dataclass
class Row:
    """One case: median seconds and errors by entrant, `ceiling` being the least seconds that the device allows.

    errors: max |result - exact| / max |exact|. wrong: why an entrant, or all of the case, was not timed.
    """

    group: str
    operator: str
    case: str
    precision: str
    variant: str = ""
    flops: int = 0
    bytes: int = 0
    ceiling: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def told(self, error: Exception, whose: str = OURS) -> None:
        """Note why an entrant has no time."""
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        self.wrong.append(f"{self.operator} of {self.case} in {self.precision} by {whose}: {kind}{error}")

    def lines(self) -> list[list[str]]:
        """Its lines of the table: one for each way in which upconv has done it."""
        start = [self.case, self.operator, self.precision]
        lines = []
        for way in ("", GRAPH):
            ours, theirs = self.seconds.get(OURS + way), self.seconds.get(THEIRS + way)
            if ours is not None:
                beside = ["", ""] if theirs is None else [f"{1e3 * theirs:.4f}", f"{theirs / ours:.2f}"]
                variant = (self.variant + way).removeprefix(", ")
                lines.append([*start, variant, f"{1e3 * ours:.4f}", f"{self.ceiling / ours:.2f}", *beside])
        return lines or [[*start, self.variant, "failed", "", "", ""]]


@dataclass
class Found:
    """All of a run. ceilings: bytes per second of a copy, FLOPs per second of products of each precision."""

    environment: dict[str, str]
    smoke: bool
    ceilings: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def least(self, flops: int, size: int, precision: str) -> float:
        """The seconds that the ceilings leave for so many FLOPs and bytes; 0 where they are not known."""
        works = {precision: flops, "copy": size}
        return max(work / self.ceilings[name] if name in self.ceilings else 0.0 for name, work in works.items())

    @property
    def told(self) -> list[str]:
        """All that went wrong."""
        return [*self.failures, *(sentence for row in self.rows for sentence in row.wrong)]

    def save(self, folder: Path) -> None:
        """Write results.json and table.md."""
        content = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1)
        write(folder / "results.json", f"{content}\n".encode())
        write(folder / "table.md", self.text().encode())

    def text(self) -> str:
        """What it was measured on, the table and what went wrong, in Markdown."""
        lines = [f"- {name}: {value}" for name, value in self.environment.items()]
        lines += [f"- ceiling: {value / 1e9:.0f} {UNITS[name]}" for name, value in self.ceilings.items()]
        lines += [
            "",
            "Medians; ratio above 1: upconv is faster. The ceiling is the copy or the product, the nearer one.",
        ]
        lines += ["Tiny cases, one round: these times mean nothing."] if self.smoke else []
        lines += ["", table(HEAD, (line for row in self.rows for line in row.lines()), left=4)]
        lines += ["", *(f"- {sentence}" for sentence in self.told)] if self.told else []
        return "\n".join(lines) + "\n"
