"""What was measured on what: the machine, and the versions of all that takes part."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

import upconv
from upconv import kernels
from upconv.kernels.cpu.machine import vectors


def environment(peers: Iterable[Any], missing: Iterable[str]) -> dict[str, str]:
    """Names and values, in the order in which they are shown."""
    absent = "; ".join(missing)
    return {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "upconv": f"{upconv.__version__}{_commit()}",
        "processor": processor(),
        "cores": f"{_cores()} that this process may use",
        "memory": _memory(),
        "vectors": vectors().name,
        "threads": str(kernels.get_num_threads()),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "Numba": f"{numba.__version__}, llvmlite {llvmlite.__version__}",
        **{peer.TITLE: peer.VERSION for peer in peers},
        **({"not installed": absent} if absent else {}),
    }


def setting(peers: Iterable[Any] = ()) -> str:
    """One line on what ran where."""
    threads = kernels.get_num_threads()
    versions = [f"{peer.TITLE} {peer.VERSION}" for peer in peers]
    parts = [f"upconv {upconv.__version__}", *versions, processor(), f"{threads} thread" + ("s" if threads > 1 else "")]
    return ", ".join(parts)


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (ValueError, OSError):
        return "unknown"


def _commit() -> str:
    """Where this is a clone: its commit, with a + where files have changed since."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return f", commit {done.stdout.strip()}" if done.returncode == 0 else ""
