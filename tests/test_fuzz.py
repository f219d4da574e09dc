"""Random calls of all operators in guarded memory, in a process of their own: a crash names the call (fuzz.py)."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are protected by Linux's mprotect")


def fuzz(calls, seed, folder):
    """What fuzz.py counts."""
    progress = folder / "progress"
    command = [sys.executable, str(FUZZ), "--calls", str(calls), "--seed", str(seed), "--progress", str(progress)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(FUZZ.parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        what, last = signal.Signals(-done.returncode).name, progress.read_text().strip()
        pytest.fail(f"{what}; repeat it with: PYTHONPATH=. python tests/fuzz.py --seed {seed} --only {last}")
    assert done.returncode == 0, done.stdout + done.stderr
    return {outcome: int(count) for count, outcome in re.findall(r"(\d+) ([a-z ]+)", done.stdout)}


def test_some_random_calls(tmp_path):
    counts = fuzz(400, 0, tmp_path)
    assert counts["computed"] > 150 and counts["refused"] > 100


@pytest.mark.slow
def test_twenty_thousand_random_calls(tmp_path):
    counts = fuzz(20_000, 1, tmp_path)
    assert counts["computed"] > 8000 and counts["refused"] > 5000


@pytest.mark.parametrize("beside", ["before", "after", "read-only"])
def test_guarded_memory_stops_whoever_leaves_it(beside):
    """Else the fuzzer would find nothing."""
    code = f"""
import ctypes, sys
sys.path.insert(0, {str(FUZZ.parent)!r})
import guarded, numpy as np
x = guarded.empty((3, 5), np.float32, at_end={beside == "after"})
x[...] = 1
x = guarded.frozen(x, at_end={beside == "after"}) if {beside == "read-only"} else x
address = x.ctypes.data + {{"before": -1, "after": x.nbytes, "read-only": 0}}[{beside!r}]
print(x.sum(), flush=True)
ctypes.memset(address, 0, 1)
print("here")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "15.0\n", done.stderr
    assert done.returncode == -signal.SIGSEGV
