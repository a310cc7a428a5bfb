"""Loss landscapes against closed forms."""

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mho
from mho import ADC, Hardware
from mho.analysis import (
    hessian_directions,
    landscape,
    random_direction,
    snapshot,
    trajectory_directions,
)
from mho.analysis.directions import coordinates, flat
from mho.effects import PowerLawDrift, StuckAt, WriteNoise
from mho.plot import landscape as pictures

SOURCE = torch.Generator().manual_seed(0)
X = torch.randn(40, 5, generator=SOURCE, dtype=torch.float64)
Y = torch.randn(40, 3, generator=SOURCE, dtype=torch.float64)


def line(bias=False):
    torch.manual_seed(1)
    return nn.Linear(5, 3, bias=bias).double()


def net():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    )


IMAGES = torch.rand(30, 1, 8, 8, generator=SOURCE)
LABELS = torch.arange(30) % 10


# ── the landscape ────────────────────────────────────────────────────────────────────────────


def test_a_quadratic_loss_is_its_parabola():
    model = line()
    direction = random_direction(model, seed=4, normalise="none")
    found = landscape(model, F.mse_loss, (X, Y), [direction], span=((-1.0, 3.0),), points=9)
    assert torch.allclose(found.steps[0], torch.linspace(-1, 3, 9))
    step = found.steps[0].double().view(-1, 1, 1)
    residual = X @ (model.weight + step * direction["weight"]).mT - Y
    assert torch.allclose(found.loss[0], residual.square().mean((1, 2)))
    assert torch.equal(found.std, torch.zeros(9, dtype=torch.float64))


def test_planes_are_indexed_second_direction_first():
    model = line().requires_grad_(False)
    one, two = (random_direction(model, seed=s, normalise="none") for s in (1, 2))
    found = landscape(model, F.mse_loss, (X, Y), [one, two], span=((-1, 1), (0, 2)), points=5)
    assert found.loss.shape == (1, 5, 5)
    for row, b in enumerate(found.steps[1].tolist()):
        for col, a in enumerate(found.steps[0].tolist()):
            weight = model.weight + a * one["weight"] + b * two["weight"]
            expected = F.mse_loss(X @ weight.T, Y)
            assert float(found.loss[0, row, col]) == pytest.approx(float(expected))


def test_points_at_once_are_the_points_one_by_one():
    model = net().train()
    model(IMAGES)  # running statistics of its own
    directions = [random_direction(model, seed=s) for s in (1, 2)]
    found = landscape(model, F.cross_entropy, (IMAGES, LABELS), directions, points=4)
    assert model.training
    model.eval()
    for row, b in enumerate(found.steps[1]):
        for col, a in enumerate(found.steps[0]):
            point = {
                n: p + a * directions[0][n] + b * directions[1][n]
                for n, p in model.named_parameters()
            }
            out = torch.func.functional_call(model, point, (IMAGES,))
            assert torch.allclose(found.loss[0, row, col], F.cross_entropy(out, LABELS), rtol=1e-4)


def test_the_model_is_left_alone_to_the_bit():
    hardware = Hardware(effects=(WriteNoise(0.05),))
    for model in (net(), mho.convert(nn.Sequential(*net()[2:]), hardware)):
        before = {k: v.clone() for k, v in model.state_dict().items() if torch.is_tensor(v)}
        data = (IMAGES if len(model) == 5 else torch.rand(30, 144), LABELS)
        landscape(model, F.cross_entropy, data, [random_direction(model)], points=3)
        for key, value in before.items():
            same = torch.equal(model.state_dict()[key], value)
            assert same or value.isnan().any(), key


# ── on chips ─────────────────────────────────────────────────────────────────────────────────


def test_on_ideal_chips_the_landscape_is_the_digital_one():
    plain, analog = line(bias=True), mho.convert(line(bias=True), Hardware())
    directions = [random_direction(plain, seed=s) for s in (3, 4)]
    digital = landscape(plain, F.mse_loss, (X, Y), directions, points=5)
    ideal = landscape(analog, F.mse_loss, (X, Y), directions, points=5, chips=(1, 2))
    assert ideal.loss.shape == (2, 5, 5)
    assert torch.allclose(ideal.loss, digital.loss.expand(2, 5, 5), rtol=1e-9)


def test_chips_differ_by_their_cells_and_are_the_same_again():
    hardware = Hardware(effects=(StuckAt(low=0.2), WriteNoise(0.05)), adc=ADC(bits=8))
    analog = mho.convert(line(), hardware)
    direction = random_direction(analog)

    def found(chips):
        return landscape(analog, F.mse_loss, (X, Y), [direction], points=5, chips=chips)

    three = found((1, 2, 3))
    assert (three.std > 0).all()
    assert torch.equal(found((2,)).loss[0], three.loss[1])


def test_drifted_chips_lie_higher():
    torch.manual_seed(0)
    model = nn.Linear(5, 3, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.linalg.lstsq(X, Y).solution.T)
    analog = mho.convert(model, Hardware(effects=(PowerLawDrift(nu=0.1),)))
    direction = random_direction(analog)
    fresh, old = (
        landscape(analog, F.mse_loss, (X, Y), [direction], points=3, chips=(1,), seconds=s)
        for s in (0.0, 1e6)
    )
    shrunk = X @ (model.weight.T * 1e6**-0.1) - Y
    assert float(old.loss[0, 1]) == pytest.approx(float(shrunk.detach().square().mean()))
    assert float(old.loss[0, 1]) > float(fresh.loss[0, 1])


# ── directions ───────────────────────────────────────────────────────────────────────────────


def test_filters_get_the_norm_of_the_models_own():
    model = net()
    direction = random_direction(model, seed=3)
    for name, weight in snapshot(model).items():
        if weight.dim() < 2:
            assert not direction[name].any()
            continue
        own, drawn = (w.flatten(1).norm(dim=1) for w in (weight, direction[name]))
        assert torch.allclose(own, drawn, rtol=1e-5)
    layer = random_direction(model, seed=3, normalise="layer")
    assert float(layer["4.weight"].norm()) == pytest.approx(float(model[4].weight.norm()), rel=1e-5)
    free = random_direction(model, seed=3, normalise="none")
    assert free["4.bias"].any()
    assert torch.equal(random_direction(model, seed=3)["0.weight"], direction["0.weight"])
    assert not torch.equal(random_direction(model, seed=4)["0.weight"], direction["0.weight"])


def test_the_main_directions_of_a_planted_trajectory():
    last = snapshot(line())
    one, two = torch.linalg.qr(torch.randn(15, 2, generator=SOURCE, dtype=torch.float64)).Q.T
    along = torch.linspace(3, 0, 12, dtype=torch.float64)
    across = 0.3 * torch.cos(4 * along)
    across = across - across[-1]
    points = [
        {"weight": last["weight"] + (a * one + c * two).view(3, 5)}
        for a, c in zip(along, across, strict=True)
    ]
    found, share = trajectory_directions(points)
    assert float(share.sum()) == pytest.approx(1.0)
    assert float(share[0]) > 0.9
    assert abs(float(flat(found[0]) @ one)) > 0.95
    placed = torch.stack([coordinates(p, points[-1], found) for p in points])
    length = (along.square() + across.square()).sqrt()
    assert torch.allclose(placed.norm(dim=1), length)


def test_curvatures_are_those_of_the_known_hessian():
    """mse of a linear model has the Hessian 2/(N·outputs) · XᵀX for every output."""
    model = line()
    directions, values = hessian_directions(model, F.mse_loss, (X, Y), 2, tolerance=1e-8)
    hessian = 2 / (40 * 3) * torch.block_diag(*[X.T @ X] * 3)
    expected = torch.linalg.eigvalsh(hessian).flip(0)[:2]
    assert torch.allclose(values, expected, rtol=1e-6)
    for direction, value in zip(directions, values, strict=True):
        v = flat(direction)
        assert torch.allclose(hessian @ v, value * v, atol=1e-6)
    assert abs(float(flat(directions[0]) @ flat(directions[1]))) < 1e-8


def test_the_way_of_training_lies_in_the_plane():
    model = line()
    points = [snapshot(model)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(15):
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()
        points.append(snapshot(model))
    directions, _ = trajectory_directions(points)
    found = landscape(model, F.mse_loss, (X, Y), directions, points=7, trajectory=points)
    assert found.trajectory.shape == (16, 2)
    assert torch.allclose(found.trajectory[-1], torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert found.trajectory[0].norm() > found.trajectory[8].norm() > 0


def test_parameters_may_be_named_in_any_order():
    net = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    points = [random_direction(net, seed=s, normalise="none") for s in range(4)]
    turned = [dict(reversed(point.items())) for point in points]
    found, _ = trajectory_directions(points)
    mixed, _ = trajectory_directions([*turned[:2], *points[2:]])
    for one, other in zip(found, mixed, strict=True):
        torch.testing.assert_close(flat(other), flat(one))
    placed = coordinates(points[0], points[-1], found)
    backwards = [dict(reversed(direction.items())) for direction in found]
    torch.testing.assert_close(coordinates(turned[0], points[-1], backwards), placed)


# ── pictures, refusals ───────────────────────────────────────────────────────────────────────


def test_pictures_show_what_was_found():
    model = line()
    directions = [random_direction(model, seed=s) for s in (1, 2)]
    one = landscape(model, F.mse_loss, (X, Y), directions[:1], points=5)
    drawn = pictures.landscape_line(one).lines[0].get_ydata()
    assert torch.allclose(torch.tensor(drawn), one.mean)
    two = landscape(model, F.mse_loss, (X, Y), directions, points=5, trajectory=[snapshot(model)])
    assert pictures.landscape_contour(two).get_xlabel()
    assert pictures.landscape_surface(two).get_zlabel() == "loss"
    with pytest.raises(ValueError, match="two directions"):
        pictures.landscape_contour(one)
    with pytest.raises(ValueError, match="one direction"):
        pictures.landscape_line(two)
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"directions": []}, ValueError, "one or two"),
        ({"directions": [{"weight": torch.zeros(2, 2)}]}, ValueError, "shape"),
        ({"directions": [{"other": torch.zeros(3, 5)}]}, ValueError, "other, weight"),
        ({"span": 0.0}, ValueError, "span"),
        ({"span": ((1.0, -1.0),)}, ValueError, "span"),
        ({"points": 1}, ValueError, "points"),
        ({"chips": (1,)}, ValueError, "no crossbars"),
        ({"seconds": 5.0}, ValueError, "no crossbars"),
    ],
)
def test_bad_input_is_refused(change, kind, text):
    model = line()
    arguments = {"directions": [random_direction(model)], **change}
    with pytest.raises(kind, match=text):
        landscape(model, F.mse_loss, (X, Y), **arguments)


def test_bad_directions_are_refused():
    model = line()
    with pytest.raises(ValueError, match="normalise"):
        random_direction(model, normalise="rows")
    with pytest.raises(ValueError, match="at least 3"):
        trajectory_directions([snapshot(model)] * 2)
    with pytest.raises(ValueError, match="do not differ"):
        trajectory_directions([snapshot(model)] * 4)
    with pytest.raises(ValueError, match="count"):
        hessian_directions(model, F.mse_loss, (X, Y), 15)
