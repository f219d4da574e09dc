import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from network_cases import NETWORKS
from prediction_cases import DENSE, SHARP, Own, both, direct, image, network

from upconv import nn
from upconv.nn import plan, sight
from upconv.nn.data import normalise


@pytest.mark.parametrize("name", [name for name in SHARP if "unpadded" not in name])  # that has no border to see
def test_tiles_with_less_around_them_would_not_do(name, monkeypatch):
    model = network(name, "float64")
    picture, seen = image(141, 90, model.in_channels), sight.sight(model, model.in_channels)
    half = replace(seen, first=seen.first // 4, last=seen.last // 4)
    monkeypatch.setattr(plan, "sight", lambda *_: half)
    tiled, whole = both(model, picture, 16)
    assert abs(tiled - whole).max() > 1e-6


@pytest.mark.parametrize("name", DENSE)
def test_tiles_lie_where_the_network_meets_the_same_pixels(name):
    model = network(name)
    seen = sight.sight(model, model.in_channels)
    for length in (*range(1, 40), *range(seen.least, 2000, 97)):
        tiling = seen.tiling(length, 33)
        pixels, places = tiling.pixels, list(tiling)
        assert len(pixels) == tiling.total == sum(tiling.own) == seen.fitted(len(pixels))
        np.testing.assert_array_equal(pixels[tiling.margin :][:length], np.arange(length))
        assert [place.start for place, _, _ in places] == [0, *np.cumsum(tiling.scores)[:-1]]
        assert sum(tiling.scores) == length and min(tiling.scores) > 0
        for place, needed, inside in places:
            assert needed.start % seen.period == 0 and seen.fitted(width := needed.stop - needed.start) == width
            assert inside.start == place.start - needed.start
            assert inside.stop - inside.start == place.stop - place.start
            assert needed.start <= max(place.start + seen.first, 0)
            assert needed.stop >= min(place.stop + seen.last, tiling.total)
        if len(places) > 1:  # what Dask asks of chunks
            assert min(tiling.own) >= max(tiling.before, tiling.after)


@pytest.mark.parametrize("name", DENSE)
def test_a_score_sees_no_further_than_is_said(name):
    """One pixel changes no score whose window it is not in."""
    model = network(name, "float64")
    seen = sight.sight(model, model.in_channels)
    size = seen.fitted(seen.last - seen.first + 80)
    x = np.random.default_rng(1).standard_normal((3, model.in_channels, size, size))
    x[1:] = x[0]
    place = size // 2
    x[1:, :, place, place] += np.array([[1e4], [-1e4]])
    with nn.no_grad():
        scores = model.eval()(x).data
    rows = np.argwhere((scores[1:] != scores[0]).any((0, 1)))[:, 0]
    assert place - seen.last <= rows.min() <= rows.max() <= place - seen.first


@pytest.mark.parametrize("kind", ["nearest", "enlarged"])
def test_networks_of_ones_own_are_tiled(kind):
    tiled, whole = both(Own(kind), image(60, 70), 16)
    assert abs(tiled - whole).max() <= 1e-5


@pytest.mark.parametrize("kind", ["global", "coordinates", "scaled"])
def test_what_depends_on_everything_gets_the_whole_image(kind):
    model, picture = Own(kind), image(40, 50)
    assert not sight.sight(model, 1).bounded
    tiled = nn.probabilities(model, picture, tile=8)
    np.testing.assert_array_equal(tiled, direct(model, normalise(picture)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Autoencoder", "Autoencoder labels no pixels: it has no classes"),
        ("LeNet", "LeNet labels no pixels: of 32 x 32 pixels it makes 1 x 10"),
        ("ResNet", "ResNet labels no pixels: of 1 x 1 pixels it makes 1 x 5"),
    ],
)
def test_networks_that_label_no_pixels(name, message):
    model = NETWORKS[name][0]()
    with pytest.raises(ValueError, match=message):
        nn.predict(model, image(32, 32, model.in_channels))


def test_a_network_is_looked_at_once_until_it_is_made_otherwise(traced):
    model, picture = Own("nearest"), image(8, 8)
    nn.predict(model, picture)
    first = len(traced)
    traced.clear()
    model.conv.weight.data += 1
    nn.predict(model.train(), picture)
    assert 0 < len(traced) < first / 3
    assert sight.sight(model, 1).bounded
    model.kind = "global"
    assert not sight.sight(model, 1).bounded
    model.kind, model.conv = "nearest", nn.Conv2d(1, 3, 7, padding=3, rng=0)
    wider = sight.sight(model, 1)
    assert wider.bounded and wider.last == sight.sight(Own("nearest"), 1).last + 1


def test_what_is_kept_of_a_network_does_not_keep_it():
    model = Own("nearest")
    sight.sight(model, 1)
    known = weakref.ref(model)
    del model
    gc.collect()
    assert known() is None
