import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from upconv.nn import metrics


def test_confusion_dice_and_iou_by_hand():
    truth = np.array([[0, 0, 1, 1], [2, 2, 2, 255]], np.uint8)
    prediction = np.array([[0, 1, 1, 1], [2, 2, 0, 1]], np.uint8)
    counts = metrics.confusion(prediction, truth, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 2]]
    assert metrics.dice(counts) == pytest.approx([2 / 4, 4 / 5, 4 / 5])
    assert metrics.iou(counts) == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert metrics.headline(metrics.dice(counts)) == pytest.approx((0.5 + 0.8 + 0.8) / 3)


def test_a_class_nobody_mentions_is_nan_and_left_out_of_the_mean():
    counts = metrics.confusion(np.array([0, 1]), np.array([0, 1]), 3)
    assert metrics.dice(counts)[:2].tolist() == [1, 1]
    assert np.isnan(metrics.dice(counts)[2])
    assert np.isnan(metrics.iou(counts)[2])
    assert metrics.headline(metrics.dice(counts)) == 1
    assert np.isnan(metrics.headline(metrics.dice(np.zeros((3, 3), int))))


def test_with_two_classes_the_headline_is_the_foreground():
    counts = metrics.confusion(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert metrics.headline(metrics.dice(counts)) == pytest.approx(2 / 3)


def test_confusion_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"prediction has shape \(2,\), truth \(3,\)"):
        metrics.confusion(np.zeros(2, int), np.zeros(3, int), 2)
    with pytest.raises(ValueError, match=r"truth holds 0\.\.7; labels are 0\.\.1"):
        metrics.confusion(np.zeros(2, int), np.array([0, 7]), 2)
    with pytest.raises(ValueError, match=r"prediction holds -1\.\.0"):
        metrics.confusion(np.array([0, -1]), np.zeros(2, int), 2)


def test_best_threshold_by_hand():
    intensity = np.array([[10, 20, 30], [40, 50, 60]])
    truth = np.array([[0, 1, 0], [1, 1, 255]])
    # >= 20 finds all 3 and one too many: 6/7. >= 40: 2 of 3: 4/5. The void pixel counts nowhere.
    assert metrics.best_threshold(intensity, truth) == (20, True, pytest.approx(6 / 7), pytest.approx(3 / 4))
    dark = metrics.best_threshold(-intensity, truth)
    assert dark == (-20, False, pytest.approx(6 / 7), pytest.approx(3 / 4))


@given(st.data())
def test_best_threshold_is_the_best_of_all(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=8))
    intensity = data.draw(hnp.arrays(np.int16, shape, elements=st.integers(-5, 5)))
    truth = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255])))
    known, foreground = truth != 255, truth == 1
    if not foreground.any():
        with pytest.raises(ValueError, match="no foreground"):
            metrics.best_threshold(intensity, truth)
        return
    scores = []
    for value in np.unique(intensity[known]):
        for chosen in (intensity >= value, intensity <= value):
            chosen = chosen & known
            scores.append(2 * (chosen & foreground).sum() / (chosen.sum() + foreground.sum()))
    best = metrics.best_threshold(intensity, truth)
    assert best.dice == pytest.approx(max(scores), abs=0)
    chosen = ((intensity >= best.value) if best.above else (intensity <= best.value)) & known
    assert best.iou == (chosen & foreground).sum() / (chosen | foreground).sum()


@pytest.mark.parametrize("classes", [2, 3])
def test_predicted_is_the_first_of_the_largest(classes):
    scores = np.random.default_rng(0).integers(0, 3, (2, classes, 5, 6)).astype(np.float32)
    for each in (scores, np.ascontiguousarray(scores.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        np.testing.assert_array_equal(metrics.predicted(each), scores.argmax(1))
