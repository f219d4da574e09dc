"""Dask arrays: the same as of arrays in memory, computed when and where Dask does."""

import sys
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from prediction_cases import Own, image, network

from upconv import nn

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

SMALL = {"U-Net": 130, "U-Net, unpadded": 120, "SegNet, two stages": 110, "DeconvNet, tied": 100}


@pytest.fixture(autouse=True)
def threads():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.mark.parametrize("name", [*SMALL, "FCN-8s, padding 100"])
def test_the_result_is_that_of_an_array_in_memory(name):
    model, side = network(name), SMALL.get(name, 640)
    picture = image(side, side // 2 + 9, model.in_channels)
    lazy = nn.probabilities(model, da.from_array(picture, chunks=(50, 70, 1)), tile=40)
    tiled, whole = nn.probabilities(model, picture, tile=40), nn.probabilities(model, picture)
    assert isinstance(lazy, da.Array) and lazy.numblocks[1] > 1
    assert lazy.shape == tiled.shape and lazy.dtype == tiled.dtype == np.float32
    result = lazy.compute()
    np.testing.assert_array_equal(result, tiled)
    assert abs(result - whole).max() <= 1e-5
    labels = nn.predict(model, da.from_array(picture, chunks=64), tile=40)
    assert labels.dtype == np.uint8 and labels.chunks == lazy.chunks[1:]
    np.testing.assert_array_equal(labels.compute(), tiled.argmax(0))


@pytest.mark.parametrize("chunks", [-1, (7, 9), ((50, 1, 39), (33, 27)), (90, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64", ">i4", "bool"])
def test_any_chunks_and_numbers(chunks, dtype):
    """Ragged, smaller than the overlap, or all in one; grey images without an axis of channels."""
    model, picture = nn.UNet(1, 2, 2, 1, rng=0), (image(90, 60)[:, :, 0] // 100).astype(dtype)
    result = nn.probabilities(model, da.from_array(picture, chunks=chunks), tile=16)
    for each, side in zip(result.chunks, (2, 90, 60), strict=True):
        assert sum(each) == side and {*each[:-1]} <= {each[0]} and each[-1] <= each[0]  # as zarr asks for
    np.testing.assert_array_equal(result.compute(), nn.probabilities(model, picture, tile=16))


def test_images_smaller_than_a_tile_and_networks_that_see_everything():
    for model in (nn.UNet(1, 2, 2, 2, padded=False, rng=0), Own("global")):
        for size in ((1, 1), (5, 40)):
            picture = image(*size)
            lazy = nn.probabilities(model, da.from_array(picture, chunks=3), tile=8 if size == (1, 1) else 64)
            assert lazy.numblocks == (1, 1, 1)
            np.testing.assert_array_equal(lazy.compute(), nn.probabilities(model, picture))


def test_the_weights_are_those_of_the_call():
    model, picture = network("U-Net, unpadded").train(), image(120, 80)
    expected = nn.predict(model, picture, tile=48)
    statistics = [each.copy() for each in model.buffers()]
    lazy = nn.predict(model, da.from_array(picture, chunks=50), tile=48)
    model.head.weight.data[...] = 0
    np.testing.assert_array_equal(lazy.compute(), expected)
    assert model.training and all(map(np.array_equal, statistics, model.buffers()))


def test_nothing_but_the_statistics_is_computed_before():
    read = []

    def load(block):
        read.append(block.shape)
        return block

    picture = image(96, 96)
    lazy = da.from_array(picture, chunks=48).map_blocks(load, meta=picture[:0, :0, :0])
    result = nn.predict(nn.UNet(1, 2, 2, 2, rng=0), lazy, tile=48)
    assert len(read) == 4
    result[:10, :10].compute()
    assert 4 < len(read) <= 8


def test_images_that_cannot_be_predicted_get_a_sentence(monkeypatch):
    model, good, deep = nn.UNet(1, 2, 2, 1, rng=0), da.zeros((8, 8), chunks=4), da.zeros((8, 8, 1), chunks=4)
    unknown = da.zeros((8, 8), chunks=4)[da.zeros(8, chunks=4) == 0]
    for picture, options, error, message in (
        (da.zeros((8, 8, 3)), {}, ValueError, "the image has 3 channels; the model was built for 1 channel"),
        (da.zeros((2, 8, 8, 1)), {}, ValueError, r"image has shape \(2, 8, 8, 1\)"),
        (da.zeros((0, 8)), {}, ValueError, r"image has shape \(0, 8, 1\)"),
        (unknown, {}, ValueError, "image has chunks of unknown sizes"),
        (good.astype(complex), {}, TypeError, "image has dtype complex128"),
        (good + np.nan, {}, ValueError, "image holds NaN, infinite or too large values"),
        (good, {"tile": 0}, ValueError, "tile is 0"),
        (good, {"on_tile": print}, ValueError, "on_tile is for arrays in memory"),
    ):
        with pytest.raises(error, match=message):
            nn.predict(model, picture, **options)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"this needs dask, which is not installed: pip install 'upconv\[dask\]'"):
        nn.predict(model, deep)


def test_memory_is_for_some_rows_of_tiles():
    """A tall image that Dask draws as it goes: at most a third of it is there at a time."""
    model, picture = nn.UNet(16, 2, 2, 1, rng=0), da.random.RandomState(0).normal(size=(8192, 128, 16), chunks=128)
    nn.predict(model, picture[:300], tile=128).compute()  # compiles
    tracemalloc.start()
    try:
        nn.predict(model, picture, tile=128).compute()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < picture.nbytes / 3


@contextmanager
def cluster(limit):
    """Two processes that may not spill to disk."""
    distributed = pytest.importorskip("distributed")
    never = {f"distributed.worker.memory.{what}": False for what in ("target", "spill")}
    with (
        dask.config.set(never),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, memory_limit=limit, dashboard_address=None
        ) as two,
        distributed.Client(two) as client,
        dask.config.set(scheduler=client.get),
    ):
        yield client
        told = client.run(lambda dask_worker: dask_worker.state.executed_count)
        assert len(told) == 2 and min(told.values()) > 0


def test_a_cluster_of_two_processes(tmp_path):
    zarr = pytest.importorskip("zarr")
    model, picture = network("U-Net, unpadded"), image(260, 180)
    stored, into = (
        zarr.create_array(tmp_path / name, shape=shape, chunks=chunks, dtype=dtype)
        for name, shape, chunks, dtype in (
            ("image", picture.shape, (70, 50, 1), "uint8"),
            ("scores", (3, 260, 180), (3, 64, 64), "float32"),
        )
    )
    stored[:] = picture
    with cluster(0):
        lazy = nn.probabilities(model, da.from_zarr(stored), tile=64)
        da.store(lazy.rechunk((3, 64, 64)), into, lock=False)
    np.testing.assert_array_equal(into[:], nn.probabilities(model, picture, tile=64))


@pytest.mark.slow
def test_a_cluster_predicts_an_image_larger_than_its_memory(tmp_path):
    """The processes, without what their code takes, have less memory than the image together."""
    zarr = pytest.importorskip("zarr")
    limit, picture = 640 * 2**20, np.tile(image(200, 64, 64), (32, 4, 1))
    stored = zarr.create_array(tmp_path / "image.zarr", shape=picture.shape, chunks=(100, 256, 64), dtype="float64")
    for start in range(0, len(picture), 100):
        stored[start : start + 100] = picture[start : start + 100]
    assert stored.nbytes > 1.2 * limit
    model = nn.UNet(64, 3, 2, 2, rng=1)
    with cluster(limit) as client:
        result = client.compute(nn.predict(model, da.from_zarr(stored), tile=128)).result(timeout=500)
    assert len(np.unique(result)) > 1
    np.testing.assert_array_equal(result, nn.predict(model, picture, tile=128))
