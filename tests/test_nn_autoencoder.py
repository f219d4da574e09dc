"""The convolutional autoencoder: shapes, sizes, errors, and that it reconstructs and denoises."""

import numpy as np
import pytest
from network_cases import check_gradients, check_round_trip, count, drawn

from upconv import nn


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (2, 1, 28, 28)),
        ({"in_channels": 3, "bottleneck": 1, "size": (16, 24), "width": 2, "depth": 3}, (2, 3, 16, 24)),
        ({"bottleneck": 1000, "size": 2, "width": 8, "depth": 1}, (8, 1, 2, 2)),
    ],
)
def test_shapes_gradients_and_round_trip(arguments, shape, tmp_path):
    pytest.importorskip("safetensors")
    model, x = nn.Autoencoder(**arguments, rng=0), drawn(*shape)
    codes = model.encode(x)
    assert codes.shape == (shape[0], model.bottleneck) and model.decode(codes).shape == shape
    np.testing.assert_array_equal(model(x).data, model.decode(codes.data).data)
    check_gradients(model, x)
    check_round_trip(model, x, tmp_path / "model")


def test_parameters():
    down = (1 * 16 * 16 + 16) + (16 * 32 * 16 + 32) + (32 * 7 * 7 * 10 + 10)
    up = (10 * 32 * 7 * 7 + 32 * 7 * 7) + (32 * 16 * 16 + 16) + (16 * 1 * 16 + 1)
    assert count(nn.Autoencoder(bottleneck=10)) == down + up


def test_it_is_what_pytorch_makes_of_its_weights():
    torch = pytest.importorskip("torch")
    tnn = torch.nn
    ours, x = nn.Autoencoder(2, 5, (8, 12), 2, 2, rng=0), drawn(3, 2, 8, 12)
    theirs = tnn.Module()
    theirs.encoder = tnn.Sequential(
        *(tnn.Conv2d(2, 2, 4, 2, 1), tnn.ReLU(), tnn.Conv2d(2, 4, 4, 2, 1), tnn.ReLU()),
        *(tnn.Flatten(), tnn.Linear(24, 5)),
    )
    theirs.decoder_input = tnn.Linear(5, 24)
    theirs.decoder = tnn.Sequential(tnn.ConvTranspose2d(4, 2, 4, 2, 1), tnn.ReLU(), tnn.ConvTranspose2d(2, 2, 4, 2, 1))
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        codes = theirs.encoder(torch.from_numpy(x))
        expected = theirs.decoder(torch.relu(theirs.decoder_input(codes)).reshape(3, 4, 2, 3))
    np.testing.assert_allclose(ours.encode(x).data, codes.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours(x).data, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.Autoencoder(size=30), "Autoencoder: size is 30; multiples of 4 are needed with depth=2"),
        (lambda: nn.Autoencoder(bottleneck=0), "Autoencoder: bottleneck is 0; a positive integer is needed"),
        (lambda: nn.Autoencoder()(drawn(1, 1, 32, 32)), r"Autoencoder: .*\(1, 1, 32, 32\); N x 1 x 28 x 28 is needed"),
        (lambda: nn.Autoencoder().decode(drawn(2, 3)), r"Autoencoder: codes have shape \(2, 3\); N x 32 is needed"),
    ],
)
def test_what_it_refuses(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_it_removes_noise_and_a_wider_bottleneck_keeps_more():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:8, :8] / 8
    phases = rng.uniform(0, 2 * np.pi, (64, 3, 1, 1, 1))
    waves = [np.sin(2 * np.pi * angle + phases[:, i]) for i, angle in enumerate((rows, columns, rows + columns))]
    clean = sum(waves).astype(np.float32)  # every image is given by three phases: six numbers are enough
    errors = {}
    for bottleneck in (1, 8):
        model = nn.Autoencoder(1, bottleneck, 8, 8, 1, rng=0)
        optimizer = nn.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            noisy = clean + 0.3 * rng.standard_normal(clean.shape, dtype=np.float32)
            loss = nn.mse_loss(model(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors[bottleneck] = loss.item()
    assert errors[8] < 0.3**2  # less than the noise that came in
    assert errors[8] < 0.25 * errors[1]
