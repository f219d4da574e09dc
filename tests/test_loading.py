import itertools
import threading
import time

import pytest

from upconv.nn.loading import Loader


def test_items_come_in_order_and_end():
    with Loader(iter(range(50))) as loader:
        assert list(loader) == list(range(50))
        assert list(loader) == []


def test_it_draws_ahead_but_not_further_than_asked():
    drawn = []

    def items():
        for i in range(20):
            drawn.append(i)
            yield i

    with Loader(items(), ahead=3) as loader:
        for got in range(1, 8):
            assert next(loader) == got - 1
            stop = time.perf_counter() + 5
            while len(drawn) < got + 4 and time.perf_counter() < stop:
                time.sleep(0.001)
            time.sleep(0.02)
            assert len(drawn) == got + 4  # one is in hand, three wait, and one wants to
    assert not [thread for thread in threading.enumerate() if thread.name == "upconv loader"]


@pytest.mark.parametrize("error", [ValueError("no such crop"), KeyboardInterrupt()])
def test_what_the_source_raises_comes_in_its_place(error):
    def items():
        yield 1
        yield 2
        raise error

    with Loader(items()) as loader:
        assert [next(loader), next(loader)] == [1, 2]
        for _ in range(2):
            with pytest.raises(type(error)):
                next(loader)


def test_leaving_ends_the_thread_whatever_waits():
    def endless():
        while True:
            yield bytes(1000)

    with pytest.raises(KeyError), Loader(endless(), ahead=1):
        raise KeyError
    assert not [thread for thread in threading.enumerate() if thread.name == "upconv loader"]


def test_outside_its_block_it_says_so():
    with Loader(itertools.count()) as loader:
        pass
    with pytest.raises(RuntimeError, match="use it inside its with block"):
        for _ in range(4):
            next(loader)
