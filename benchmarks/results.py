"""What a run of the benchmarks leaves behind: one schema, written as JSON, from which every report is made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from upconv.nn.files import write

SCHEMA = 1
OURS = "upconv"


class Unusable(Exception):
    """A file, or an option, that the user can mend: the message is one sentence."""


@dataclass
class Measurement:
    """One case, timed: median seconds and errors by entrant (upconv, and peers in their formats).

    flops, bytes: what the case takes at least; those of a convolution are of its plain sum.
    errors: max |result - exact| / max |exact|, exact being computed in float64.
    copy: bytes per second, read and written, of a copy that took its turns with the others.
    one_thread: seconds of upconv with one thread. wrong: why an entrant was not timed.
    """

    group: str
    operator: str
    case: str
    flops: int
    bytes: int
    variant: str
    seconds: dict[str, float]
    errors: dict[str, float] = field(default_factory=dict)
    copy: float | None = None
    one_thread: float | None = None
    wrong: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return self.group, self.operator, self.case

    @property
    def ours(self) -> float:
        """Seconds of upconv."""
        return self.seconds[OURS]

    @property
    def fastest(self) -> tuple[str, float] | None:
        """The fastest peer and its seconds; None where there is none."""
        peers = {name: seconds for name, seconds in self.seconds.items() if name != OURS}
        return min(peers.items(), key=lambda item: item[1]) if peers else None

    @property
    def ratio(self) -> float:
        """Times that upconv is faster than the fastest peer; 1 where there is none."""
        return self.fastest[1] / self.ours if self.fastest else 1.0

    @property
    def share(self) -> float:
        """Of a copy's bytes per second; 0 where no copy ran beside it."""
        return self.bytes / self.ours / self.copy if self.copy else 0.0


@dataclass
class Peaks:
    """What the machine reaches: FLOPs per second of fused multiply-adds in registers, bytes per second of a copy."""

    threads: int
    flops: float
    flops_one_thread: float
    copy: float
    copy_one_thread: float


@dataclass
class Start:
    """Seconds of something in a new process, whose cache folder of compiled kernels was filled or empty."""

    what: str
    cache: str
    seconds: float


@dataclass
class Memory:
    """The peak of a new process' resident memory, less what it had after importing the packages; bytes."""

    case: str
    what: str
    entrant: str
    bytes: int


@dataclass
class Results:
    """Everything that was measured in one run."""

    environment: dict[str, str]
    missing: list[str] = field(default_factory=list)
    smoke: bool = False
    complete: bool = False
    peaks: Peaks | None = None
    measurements: list[Measurement] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write JSON, which appears complete or not at all."""
        write(path, (json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n").encode())


def load(path: Path) -> Results:
    """What `save` wrote. Raises Unusable where that is not what the file holds."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Unusable(f"{path} is no JSON file: {error}") from error
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise Unusable(f"{path} holds no results of `python -m benchmarks report` of this version (schema {SCHEMA})")
    lists = {"measurements": Measurement, "starts": Start, "memory": Memory}
    try:
        for name, kind in lists.items():
            content[name] = [_made(kind, each) for each in content[name]]
        content["peaks"] = content["peaks"] and _made(Peaks, content["peaks"])
        return _made(Results, content)
    except (KeyError, TypeError) as error:
        raise Unusable(f"{path} holds damaged results: {error}") from error


def _made(kind: type, values: dict[str, Any]) -> Any:
    unknown = set(values) - {each.name for each in fields(kind)}
    if unknown:
        raise KeyError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    return kind(**values)
