import math

import pytest

from upconv.nn import schedules
from upconv.settings import Settings


def rates(**options):
    settings = Settings(**options)
    return [schedules.learning_rate(settings, t) for t in range(1, settings.steps + 1)]


def test_by_default_the_rate_rises_then_falls_to_nothing():
    found = rates(steps=200, lr=1.0)
    assert found[:3] == pytest.approx([0.05, 0.1, 0.15])
    assert max(found) == pytest.approx(1, abs=0.05)
    assert found.index(max(found)) == 19
    assert 0 < found[-1] < 1e-3
    assert rates(steps=1) == [Settings.lr]


def test_the_schedules():
    assert rates(steps=3, lr=2.0, schedule="constant", warmup=0) == [2, 2, 2]
    assert rates(steps=4, lr=2.0, schedule="constant", warmup=4) == [0.5, 1, 1.5, 2]
    assert rates(steps=4, lr=1.0, warmup=0) == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    found = rates(steps=5, lr=1.0, warmup=0, schedule="step", step_size=2, gamma=0.5)
    assert found == [1, 1, 0.5, 0.5, 0.25]
    assert rates(steps=9, lr=1.0, warmup=0, schedule="step")[2::3] == pytest.approx([1, 0.1, 0.01])
    assert rates(steps=4, lr=1.0, warmup=0, schedule="polynomial", power=2) == [1, 0.5625, 0.25, 0.0625]
    found = rates(steps=11, lr=1.0, schedule="one_cycle")
    peak = 0.3 * 11 - 1
    assert found[0] == pytest.approx(1 / 25) and found[-1] == pytest.approx(1 / 25e4)
    assert found[1] == pytest.approx(1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi / peak)) / 2)
    assert found == sorted(found[:3]) + sorted(found[3:], reverse=True)
    assert all(0 < rate <= 1 for steps in range(1, 9) for rate in rates(steps=steps, lr=1.0, schedule="one_cycle"))
