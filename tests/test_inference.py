import gc
import pickle
import tracemalloc

import numpy as np
import pytest
from prediction_cases import DENSE, both, direct, image, network

from upconv import nn
from upconv.nn import data, inference, sight
from upconv.nn.data import normalise


@pytest.mark.parametrize("channels", [1, 3])
def test_a_size_that_fits_is_the_plain_forward_pass(channels):
    model = nn.UNet(channels, 3, 2, 2, rng=0)
    picture = image(24, 36, channels)
    probability = inference.probabilities(model, picture)
    assert probability.dtype == np.float32
    assert np.array_equal(probability, direct(model, normalise(picture)))
    assert np.array_equal(inference.predict(model, picture), probability.argmax(0))
    assert inference.predict(model, picture).dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (23, 36), (17, 5)])
def test_any_other_size_is_reflected_and_cropped_back(size):
    model, picture = nn.UNet(1, 2, 2, 2, rng=0), image(*size)
    padding = [(0, -side % 4) for side in size]
    expected = direct(model, np.pad(normalise(picture), [(0, 0), *padding], mode="reflect"))
    assert np.array_equal(inference.probabilities(model, picture), expected[:, : size[0], : size[1]])


@pytest.mark.parametrize("size", [(1, 1), (21, 34)])
def test_an_unpadded_model_sees_the_image_reflected_on_every_side(size):
    model, picture = nn.UNet(1, 2, 2, 2, padded=False, rng=0), image(*size)
    fitted = model.valid_input_size(*size)
    before = (fitted[0] - model.output_size(*fitted)[0]) // 2
    padding = [(before, fit - before - side) for fit, side in zip(fitted, size, strict=True)]
    expected = direct(model, np.pad(normalise(picture), [(0, 0), *padding], mode="reflect"))
    assert np.array_equal(inference.probabilities(model, picture), expected[:, : size[0], : size[1]])


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_tiles_give_what_the_whole_image_gives(name, dtype, bound):
    """In float64 no kernel is Winograd's: nothing but the order of sums may differ."""
    model = network(name, dtype)
    side = sight.sight(model, model.in_channels).tiling(10_000, 33).own[0]
    picture = image(2 * side + 61, 90, model.in_channels)
    tiled, whole = both(model, picture, 33)
    assert whole.std() > 0.01
    assert abs(tiled - whole).max() <= bound
    np.testing.assert_array_equal(nn.predict(model, picture, tile=33), tiled.argmax(0))


def peak(model, picture, **options):
    """Bytes that `predict` allocates at most, but for its result."""
    gc.collect()
    tracemalloc.start()
    try:
        result = nn.predict(model, picture, **options)
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_image():
    model = nn.UNet(1, 2, 4, 2, rng=0)
    small, large = (image(side, side).astype(np.float32) for side in (512, 1024))
    peak(model, small, tile=96)  # compiles, and fills the list of free memory
    bounded = peak(model, small, tile=96)
    assert bounded < large.nbytes
    assert peak(model, large, tile=96) < 1.2 * bounded
    assert peak(model, large, tile=1024) > 10 * bounded


def test_moments_are_those_of_the_whole_image(monkeypatch):
    picture = image(70, 30, 3).astype(np.float64) * 1e-3 + 5
    expected = picture.mean(), picture.std()
    assert data.moments(picture) == expected
    monkeypatch.setattr(data, "TOGETHER", 7 * 30 * 3)
    assert data.moments(picture) == pytest.approx(expected, rel=1e-14)
    assert data.moments(picture[:1]) == (picture[:1].mean(), picture[:1].std())


def test_models_travel():
    model = network("U-Net, unpadded")
    picture = image(60, 50)
    expected = nn.probabilities(model, picture)
    content = pickle.dumps(model)
    assert len(content) < 1.2 * sum(each.nbytes for each in model.state_dict().values()) + 20_000
    again = pickle.loads(content)
    np.testing.assert_array_equal(nn.probabilities(again, picture), expected)
    again.head.weight.data += 1
    np.testing.assert_array_equal(nn.probabilities(model, picture), expected)


def test_wider_types_and_double_precision():
    model, picture = nn.UNet(1, 2, 2, 1, rng=0).to("float64"), image(8, 8)
    expected = inference.probabilities(model, picture)
    assert expected.dtype == np.float32
    assert inference.probabilities(model, picture.astype(np.uint16) * 257) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(inference.probabilities(model, picture[:, :, 0]), expected)


def test_what_predict_cannot_use():
    model = nn.UNet(1, 2, 2, 1, rng=0)
    for picture, message in (
        (image(8, 8, 3), "the image has 3 channels; the model was built for 1 channel"),
        (np.zeros((2, 3, 4, 5)), r"image has shape \(2, 3, 4, 5\)"),
        (np.zeros((0, 5)), r"image has shape \(0, 5, 1\)"),
        (np.array([[0, np.nan]]), "image holds NaN, infinite or too large values; every pixel must be finite"),
        (np.array([[0, 1e300]]), "image holds NaN, infinite or too large values"),
    ):
        with pytest.raises(ValueError, match=message), np.errstate(over="ignore"):
            inference.predict(model, picture)
    with pytest.raises(TypeError, match="image has dtype complex128; integers or floats are needed"):
        inference.predict(model, np.zeros((8, 8), complex))
    with pytest.raises(ValueError, match="tile is 0"):
        inference.probabilities(model, image(8, 8), tile=0)
