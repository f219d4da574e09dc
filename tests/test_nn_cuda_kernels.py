"""Networks on CuPy arrays, by kernels where there are some: the double runs them, which takes a while."""

import numpy as np
import pytest
from cuda_cases import NETWORKS, OPTIMIZERS, batches, stepping

from upconv import nn

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("name", NETWORKS)]


def test_kernels_train_as_on_the_cpu(name, gpu):
    make, shape = NETWORKS[name]
    here, there = make(), make().to("cuda")
    steps = [stepping(each, OPTIMIZERS["sgd"](each.parameters())) for each in (here, there)]
    for seed, batch in enumerate(batches(2, here, shape)):
        nn.manual_seed(seed)
        expected = steps[0](*batch).item()
        nn.manual_seed(seed)
        np.testing.assert_allclose(steps[1](*map(gpu.asarray, batch)).item(), expected, rtol=1e-4)
    assert gpu.device.names
    for key, array in there.state_dict().items():
        np.testing.assert_allclose(array, here.state_dict()[key], rtol=1e-3, atol=1e-4, err_msg=key)


def test_a_graph_of_kernels_takes_their_steps(name, gpu):
    make, shape = NETWORKS[name]
    eager, replayed = make().to("cuda"), make().to("cuda")
    step, captured = (stepping(each, OPTIMIZERS["sgd"](each.parameters())) for each in (eager, replayed))
    captured = nn.capture(captured, warmup=1)
    for seed, batch in enumerate(batches(3, make(), shape)):
        nn.manual_seed(seed)
        expected = step(*map(gpu.asarray, batch)).item()
        nn.manual_seed(seed)
        np.testing.assert_allclose(captured(*batch).item(), expected, rtol=1e-5)
