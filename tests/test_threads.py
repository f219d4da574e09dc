"""One result for any number of threads, from several Python threads at once, in a forked child, and after Ctrl-C."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from kernel_cases import call, several

from benchmarks.calls import function
from upconv import kernels
from upconv.kernels.cpu import parallel
from upconv.kernels.op import OPERATORS


@cache
def arguments(name):
    """Of a call large enough for several threads."""
    return call(name, size=40)


def bits(name):
    """The bytes of an operator's results."""
    return b"".join(result.tobytes() for result in several(function(name)(**arguments(name))))


@pytest.mark.parametrize("name", OPERATORS)
def test_the_number_of_threads_changes_no_bit(name):
    with kernels.num_threads(1):
        expected = bits(name)
    for threads in (2, 3, 7):
        with kernels.num_threads(threads):
            assert bits(name) == expected


def test_several_python_threads_at_once():
    expected = {name: bits(name) for name in OPERATORS}
    start = threading.Barrier(8)

    def work(first):
        start.wait(60)
        order = [*OPERATORS][first:] + [*OPERATORS][:first]
        return [(name, bits(name)) for name in 3 * order]

    with kernels.num_threads(3), ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for name, result in results:
                assert result == expected[name], name


def child(expected):
    for name in OPERATORS:
        assert bits(name) == expected[name], name


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_too():
    with kernels.num_threads(3):
        expected = {name: bits(name) for name in OPERATORS}  # the parent's threads are awake
        process = multiprocessing.get_context("fork").Process(target=child, args=(expected,))
        process.start()
        process.join(120)
        if process.is_alive():
            process.kill()
            pytest.fail("the forked child hangs")
        assert process.exitcode == 0
        assert bits("conv2d") == expected["conv2d"]


INTERRUPTED = """
import os, signal, threading, time
import numpy as np
from upconv import kernels

kernels.set_num_threads(3)
x, weight = np.ones((4, 32, 96, 96), np.float32), np.ones((64, 32, 3, 3), np.float32)
expected = kernels.conv2d(x, weight)
caught = 0
while caught < 10:
    timer = threading.Timer(0.01 + 0.003 * caught, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        while True:
            kernels.conv2d(x, weight)
    except KeyboardInterrupt:
        caught += 1
    timer.join()
    assert (kernels.conv2d(x, weight) == expected).all()
print("caught", caught)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are different here")
def test_an_interrupt_leaves_everything_usable():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert done.stdout == "caught 10\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("moment", ["it wakes the others", "it waits for them"])
def test_when_an_interrupted_call_returns_nobody_works_for_it_any_more(moment, monkeypatch):
    """Else threads would write to arrays that are gone, or claim the next call's items."""
    caller, begun, done = threading.current_thread(), threading.Event(), threading.Event()

    def kernel(work, scratch, items):
        if threading.current_thread() is caller:
            begun.wait(60)
        else:
            begun.set()
            time.sleep(0.1)
            done.set()

    def interrupting(function):
        def call(*arguments):
            function(*arguments)
            if threading.current_thread() is caller:
                raise KeyboardInterrupt

        return call

    class Calls(parallel.SimpleQueue):
        put = interrupting(parallel.SimpleQueue.put)

    pool = parallel.Pool()
    monkeypatch.setattr(parallel, "_pool", pool)
    if moment == "it wakes the others":
        pool._calls = Calls()
    else:
        monkeypatch.setattr(parallel, "spin", interrupting(lambda *_: None))
    with kernels.num_threads(2), pytest.raises(KeyboardInterrupt):
        parallel.run(kernel, 2)
    before = begun.is_set(), done.is_set()
    time.sleep(0.3)
    assert before == (begun.is_set(), done.is_set())
    assert before[0] == before[1]


@pytest.mark.parametrize("who", ["the caller", "another thread"])
def test_an_error_in_any_thread_is_raised_in_the_caller(who):
    caller, both = threading.current_thread(), threading.Barrier(2)

    def kernel(work, scratch, items):
        both.wait(60)
        if (threading.current_thread() is caller) == (who == "the caller"):
            raise ArithmeticError(who)

    with kernels.num_threads(2):
        with pytest.raises(ArithmeticError, match=who):
            parallel.run(kernel, 2)
        x = arguments("relu")["x"]
        np.testing.assert_array_equal(kernels.relu(x), np.maximum(x, 0))


def test_setting_the_number_of_threads():
    before = kernels.get_num_threads()
    assert before >= 1
    with kernels.num_threads(5):
        assert kernels.get_num_threads() == 5
        with pytest.raises(KeyError), kernels.num_threads(2):
            raise KeyError
        assert kernels.get_num_threads() == 5
        kernels.set_num_threads(4)
    assert kernels.get_num_threads() == before


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("", None), ("many", None), ("0", None)])
def test_the_environment_sets_the_number_of_threads(given, expected, monkeypatch):
    monkeypatch.setenv("UPCONV_NUM_THREADS", given)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert parallel._available() == (expected or available)
