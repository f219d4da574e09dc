"""An encoder that was first trained as a classifier: what it is worth where few scenes are labelled pixel by pixel.

1. The encoder of a U-Net learns which kind of object fills most of a patch: one word for each of many patches.
2. `model.freeze("enc")`: in the U-Net only the decoder learns, from three scenes that are labelled pixel by pixel.
3. `model.unfreeze("enc")`: all of it is fine-tuned on the same scenes, at a quarter of the learning rate.

Beside it stand the same without 1, all weights trained at once for as many steps as 2 and 3 have together, and the
class that is most frequent, everywhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from _recipe import bar, constant, mean_iou, options, pictures, spread, table, train

from upconv import nn
from upconv.nn.loading import batches

CLASSES, LABELLED, PATCH, LR = 7, 3, 32, 2e-3
WAYS = "frozen", "then fine-tuned", "all at once"


class Classifier(nn.Module):
    """The encoder of a U-Net, and on the mean of its last maps a linear layer: N x C x H x W -> N x classes."""

    def __init__(self, unet: nn.UNet, seed: int) -> None:
        """The encoder is the U-Net's own: what one learns the other knows."""
        self.enc, self.pool = unet.enc, unet.pool
        self.mean, self.flat = nn.GlobalAvgPool2d(), nn.Flatten()
        self.head = nn.Linear(unet.width * 2**unet.depth, CLASSES, rng=seed)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """Scores of every patch."""
        for level, stage in enumerate(self.enc):
            x = stage(self.pool(x) if level else x)
        return self.head(self.flat(self.mean(x)))


def most(labels: np.ndarray) -> np.ndarray:
    """Of each patch the kind of object that fills most of it, 0 where there is none."""
    counts = np.stack([(labels == kind).sum((1, 2)) for kind in range(1, CLASSES)], axis=1)
    return np.where(counts.any(1), 1 + counts.argmax(1), 0)


def classify(unet: nn.UNet, data: nn.Data, steps: int, seed: int) -> None:
    """Train the encoder as a classifier of patches; say how often it is right on patches of scenes held out."""
    model = Classifier(unet, seed)
    optimizer = nn.Adam(model.parameters(), lr=LR)
    settings = nn.Settings(batch=16, crop=PATCH)
    drawn = batches(data.train, settings, np.random.default_rng(seed))
    for _ in bar(steps, "classifier"):
        images, labels = next(drawn)
        loss = nn.cross_entropy(model(images), most(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held_out = batches(data.test, replace(settings, batch=320), np.random.default_rng(seed))
    images, labels = next(held_out)
    with nn.inference_mode():
        right = model(images).data.argmax(1) == most(labels)
    trivial = np.bincount(most(labels)).max() / len(labels)
    print(f"classifier: {right.mean():.3f} of the answers are right; were they all the same, {trivial:.3f} at best")


def segment(model: nn.UNet, data: nn.Data, steps: int, seed: int, lr: float) -> float:
    """Train what is not frozen on the labelled scenes; the mean IoU on the others."""
    size = len(data.train[0].labels)
    counts = train(model, data, steps=steps, seed=seed, batch=4, crop=size, lr=lr, evaluate_every=steps)
    return nn.metrics.mean(nn.metrics.iou(counts))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train with and without the classifier for every seed, print mean IoU, draw a scene under each."""
    given = options("finetuning", __doc__, arguments, steps=120, classifier=400, seeds=3)
    size, width, many, tested = (32, 2, 8, 4) if given.quick else (64, 16, 400, 40)
    found: dict[str, list[list[float]]] = {"random": [], "classifier": []}
    trivial = []
    for seed in range(given.seed, given.seed + given.seeds):
        count = LABELLED + tested
        few = nn.scenes(count, size=size, classes=CLASSES, validation=tested / count, seed=seed)
        trivial.append(mean_iou(constant(few), [sample.labels for sample in few.test], CLASSES))
        shown = {"image": few.test[0].image, "truth": few.test[0].labels}
        start = nn.UNet(3, CLASSES, width, depth=3, rng=seed)
        for name in found:
            if name == "classifier":
                scenes = nn.scenes(many, size=size, classes=CLASSES, seed=1000 + seed)
                classify(start, scenes, given.classifier, seed)
            model, whole = (nn.UNet(3, CLASSES, width, depth=3, rng=seed) for _ in range(2))
            model.load_state_dict(start.state_dict())
            whole.load_state_dict(start.state_dict())
            print(f"encoder from {name}, seed {seed}", flush=True)
            decoded = segment(model.freeze("enc"), few, given.steps, seed, LR)
            tuned = segment(model.unfreeze("enc"), few, given.steps, seed, LR / 4)
            found[name].append([decoded, tuned, segment(whole, few, 2 * given.steps, seed, LR)])
            shown |= {f"{name}: fine-tuned": nn.predict(model, few.test[0].image)}
            shown |= {f"{name}: all at once": nn.predict(whole, few.test[0].image)}
    rows = [[name, *map(spread, zip(*scores, strict=True))] for name, scores in found.items()]
    table(["encoder from", *WAYS], [*rows, ["the most frequent class", "", "", float(np.mean(trivial))]])
    pictures(given.output / "finetuning.png", [shown])
    ways = {name: zip(WAYS, np.mean(scores, 0).tolist(), strict=True) for name, scores in found.items()}
    return {f"{name}, {way}": score for name in found for way, score in ways[name]}


if __name__ == "__main__":
    main()
