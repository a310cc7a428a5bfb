"""The chip: its cells are the models' cells, its defects stay, and it says what does not fit."""

import copy
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho import Crossbar, Hardware
from mho.chip import (
    Chip,
    Committee,
    MappingError,
    Region,
    best_order,
    mapping_error,
    outside_window,
)
from mho.chip.permute import row_costs
from mho.devices import LinearDevice, Spread
from mho.effects import PowerLawDrift, StuckAt, WriteNoise
from mho.encoding import LEA, Differential, InnerFaultTolerance, Redundant, SingleColumn, Ternary

STUCK = StuckAt(low=0.05, high=0.05)
HARDWARE = Hardware(effects=(STUCK,))


def mlp(seed=0, width=20):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Linear(width, 5)).eval()


def placed(strategy="greedy", hardware=HARDWARE, model=None, size=(150, 150), seed=0, **options):
    chip = Chip(*size, hardware=hardware, seed=seed)
    analog = mho.convert(mlp() if model is None else model, hardware)
    chip.place(analog, strategy, **options)
    return chip, analog


def crossbars(model):
    return [m for m in model.modules() if isinstance(m, Crossbar)]


def test_defects_have_the_asked_frequency_and_values():
    chip = Chip(400, 300, Hardware(effects=(StuckAt(low=0.1, high=0.05),)), seed=3)
    n = 400 * 300
    for value, p in ((1e-6, 0.1), (100e-6, 0.05)):
        count = int((chip.stuck & chip.G.eq(torch.tensor(value))).sum())
        assert abs(count - n * p) < 5 * (n * p * (1 - p)) ** 0.5
    assert not torch.equal(chip.stuck, Chip(400, 300, chip.hardware, seed=4).stuck)
    assert torch.equal(chip.stuck, Chip(400, 300, chip.hardware, seed=3).stuck)


@pytest.mark.parametrize("strategy", ["greedy", "random", "packed"])
def test_crossbars_become_the_cells_of_their_regions(strategy):
    hardware = Hardware(
        device=LinearDevice(g_max=Spread(torch.distributions.Normal(1e-4, 5e-6), low=5e-5)),
        effects=(STUCK, PowerLawDrift(nu=0.05, nu_spread=0.02)),
        encoding=Differential(),
    )
    chip, model = placed(strategy, hardware)
    regions = [r for found in chip.regions.values() for r in found]
    assert len(regions) == 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(regions, 2))
    assert int(chip.occupied.sum()) == sum(r.cells for r in regions) == 2 * (600 + 100)
    assert chip.occupancy == pytest.approx(1400 / 22500)
    for crossbar, (label, found) in zip(crossbars(model), chip.regions.items(), strict=True):
        for s, region in enumerate(found):
            assert torch.equal(crossbar.stuck[s], region.of(chip.stuck))
            for behaviour, name in ((0, "g_max"), (2, "nu")):
                own = chip.cells.state(behaviour)[name]
                assert torch.equal(crossbar.cells.state(behaviour)[name][s], region.of(own))
            assert torch.equal(crossbar.G[s], chip.read(region))
            assert torch.equal(crossbar.G[s], chip.read(label, s))


def test_a_chip_without_defects_computes_as_no_chip():
    hardware = Hardware(encoding=Redundant(copies=2))
    chip, model = placed(hardware=hardware)
    x = torch.randn(4, 30)
    assert torch.equal(model(x), mho.convert(mlp(), hardware)(x))
    assert crossbars(model)[0].stuck is None
    assert "0.00% stuck" in repr(chip)


def test_stuck_cells_read_the_same_forever():
    hardware = Hardware(effects=(STUCK, PowerLawDrift(nu=0.1), WriteNoise(0.05)))
    chip, model = placed(hardware=hardware)
    mask, before = chip.stuck.clone(), chip.G.clone()
    healthy = chip.occupied & ~mask
    with torch.no_grad():
        for p in model.parameters():
            p.neg_()
    chip.program(model)
    chip.age(1e6)
    mho.program(model)
    mho.age(model, 1e4)
    chip.remove(model)
    chip.place(mho.convert(mlp(1), hardware), "random")
    assert torch.equal(chip.stuck, mask)
    assert torch.equal(chip.G[mask], before[mask])
    assert not torch.equal(chip.G[healthy], before[healthy])


def test_several_models_and_layers_and_a_committee():
    chip = Chip(150, 150, HARDWARE)
    models = [mho.convert(mlp(s), HARDWARE) for s in range(3)]
    names = [None, "second", None]
    for model, name in zip(models, names, strict=True):
        chip.place(model, name=name)
    committee = mho.convert(Committee([mlp(3), mlp(4)]), HARDWARE)
    found = chip.place(committee, name="committee")
    assert list(found) == ["members.0.0", "members.0.2", "members.1.0", "members.1.2"]
    assert list(dict.fromkeys(label.split("/")[0] for label in chip.regions)) == [
        "model 1",
        "second",
        "model 2",
        "committee",
    ]
    every = [r for regions in chip.regions.values() for r in regions]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(every, 2))
    chip.remove(models[1])
    chip.remove("model 1")
    assert {label.split("/")[0] for label in chip.regions} == {"model 2", "committee"}
    with pytest.raises(ValueError, match="no such model on this chip; there are 'committee', 'mod"):
        chip.remove("second")
    x = torch.randn(3, 30)
    members = [m(x) for m in committee.members]
    assert torch.allclose(committee(x), (members[0] + members[1]) / 2)


def test_committee_of_probabilities():
    models = [mlp(s) for s in range(3)]
    x = torch.randn(7, 30)
    found = Committee(models, combine="probabilities")(x)
    mean = torch.stack([m(x).softmax(-1) for m in models]).mean(0)
    assert torch.allclose(found.exp(), mean, atol=1e-6)
    with pytest.raises(ValueError, match="at least one member"):
        Committee([])
    with pytest.raises(TypeError, match="every member must be Module"):
        Committee([mlp(), 3])


def test_wear_counts_every_write_of_every_cell():
    chip, model = placed()
    region = chip.regions["model 1/0"][1]
    for _ in range(3):
        mho.program(model)
    chip.program(model)
    assert (region.of(chip.wear) == 5).all()  # placing writes, too
    assert int(chip.wear.sum()) == 5 * 1400
    chip.remove(model)
    mho.program(model)  # the model has cells of its own again
    assert int(chip.wear.sum()) == 5 * 1400
    chip.place(mho.convert(mlp(), HARDWARE), "packed")
    assert int(chip.wear.sum()) == 6 * 1400


def test_a_worn_out_chip_says_so():
    chip = Chip(60, 25, HARDWARE, endurance=2)
    model = mho.convert(nn.Linear(30, 20).eval(), HARDWARE)
    chip.place(model, "packed")
    chip.program(model)
    with pytest.raises(ValueError, match="received 2 pulses, and endurance is 2"):
        chip.program(model)
    chip.remove(model)
    with pytest.raises(ValueError, match=r"worn out: on 60 of its 60 word lines.*the 2 pulses"):
        chip.place(model)


def test_worn_cells_are_left_alone():
    chip = Chip(200, 30, HARDWARE, endurance=1)
    first, second = (mho.convert(nn.Linear(30, 20).eval(), HARDWARE) for _ in range(2))
    old = chip.place(first)
    chip.remove(first)
    new = chip.place(second)
    pairs = itertools.product(*(r for f in (old, new) for r in f.values()))
    assert not any(a.overlaps(b) for a, b in pairs)


def test_what_does_not_fit_is_said_with_numbers():
    model = mho.convert(mlp(), HARDWARE)
    with pytest.raises(
        ValueError, match=r"'0': it needs 30 × 20 cells in one piece.*10 rows and 0"
    ):
        Chip(20, 60, HARDWARE).place(model)
    with pytest.raises(ValueError, match=r"model needs 1400 cells, 150 more than the 1250 free"):
        Chip(50, 25, HARDWARE).place(model)
    tight = Chip(50, 30, HARDWARE)
    with pytest.raises(ValueError, match=r"1500 cells are free.*not in pieces that large.*packed"):
        tight.place(model, "random")
    assert not tight.regions
    assert not crossbars(model)[0].on_chip


def test_refusals():
    chip, model = placed()
    with pytest.raises(ValueError, match="is on this chip already"):
        chip.place(model)
    with pytest.raises(ValueError, match="strategy must be one of"):
        chip.place(mho.convert(mlp(), HARDWARE), "best")
    with pytest.raises(ValueError, match="a model named 'model 1'"):
        chip.place(mho.convert(mlp(), HARDWARE), name="model 1")
    other = Hardware(effects=(StuckAt(low=0.1),))
    with pytest.raises(ValueError, match=r"other cells than this chip.*low: expected 0.05, found"):
        chip.place(mho.convert(mlp(), other))
    with pytest.raises(ValueError, match="2 and 1 of them"):
        chip.place(mho.convert(mlp(), Hardware()))
    with pytest.raises(TypeError, match="as the chip, got torch"):
        chip.place(mho.convert(mlp().double(), HARDWARE))
    with pytest.raises(ValueError, match="no crossbar layers"):
        chip.place(mlp())
    with pytest.raises(ValueError, match="not on this chip; place it first"):
        chip.program(mho.convert(mlp(), HARDWARE))
    with pytest.raises(ValueError, match=r"of 150 × 150 cells at \(0, 0\) were never written"):
        chip.read(Region(0, 0, 150, 150))
    with pytest.raises(ValueError, match="not on this chip of 150 × 150"):
        chip.read(Region(140, 0, 20, 5))
    with pytest.raises(ValueError, match="region must be one of"):
        chip.read("model 7/0")
    with pytest.raises(ValueError, match="rows must be >= 1"):
        Chip(0, 5)
    with pytest.raises(ValueError, match=r"stuck mask must have shape \[4, 5\]"):
        Chip(4, 5, stuck=(torch.zeros(4, 4, dtype=torch.bool), torch.zeros(4, 5)))
    with pytest.raises(TypeError, match="stuck mask must be boolean"):
        Chip(4, 5, stuck=(torch.zeros(4, 5), torch.zeros(4, 5)))
    mask = torch.ones(4, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match="stuck conductances must be >= 0"):
        Chip(4, 5, stuck=(mask, torch.full((4, 5), -1.0)))
    with pytest.raises(ValueError, match="stuck conductances must be finite"):
        Chip(4, 5, stuck=(mask, torch.full((4, 5), torch.nan)))


def test_a_model_fabricated_anew_has_left_the_chip():
    chip, model = placed()
    mho.fabricate(model, seed=3)
    assert not chip.regions
    assert not crossbars(model)[0].on_chip
    with pytest.raises(ValueError, match="no such model on this chip"):
        chip.remove(model)
    chip.place(model)


def test_given_defects_and_a_measured_map():
    if "MHO_LEA_DATA" in os.environ:  # a kernel of the published chip, in pS
        path = Path(os.environ["MHO_LEA_DATA"]) / "figure_3/d/conductance_map_multibit_k17.txt"
        measured = torch.tensor(np.loadtxt(path), dtype=torch.float32) * 1e-12
    else:
        source = torch.Generator().manual_seed(0)
        measured = torch.rand(25, 25, generator=source) * 3e-4
    mask, values = outside_window(measured, 50e-6, 260e-6)
    device = LinearDevice(50e-6, 250e-6)
    chip = Chip(25, 25, Hardware(device=device), stuck=(mask, values))
    assert torch.equal(chip.stuck, mask)
    assert 0.01 < float(mask.float().mean()) < 0.5
    assert torch.equal(chip.G[mask], measured[mask])
    hardware = Hardware(device=device, encoding=Ternary())
    model = mho.convert(nn.Linear(12, 8).eval(), hardware)
    chip.place(model)
    mho.age(model, 10.0)
    assert torch.equal(chip.G[mask], measured[mask])
    # The defects are not the hardware's, and still the model has them, also after loading.
    again = mho.convert(nn.Linear(12, 8).eval(), hardware)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.crossbar.stuck, model.crossbar.stuck)
    x = torch.randn(3, 12)
    assert torch.equal(again(x), model(x))
    with pytest.raises(ValueError, match=r"high must be > 0\.5"):
        outside_window(measured, 0.5, 0.1)


def test_training_learns_around_the_defects_of_its_chip():
    torch.manual_seed(0)
    x = torch.randn(256, 30)
    y = mlp(5)(x).detach()
    given = (torch.rand(80, 80) < 0.15, torch.full((80, 80), 100e-6))
    hardware = Hardware()
    chip = Chip(80, 80, hardware, stuck=given)
    model = mho.convert(mlp(5), hardware)
    chip.place(model)

    @torch.no_grad()
    def loss():
        return float(nn.functional.mse_loss(model.eval()(x), y))

    before = loss()
    optimizer = torch.optim.Adam(model.train().parameters(), lr=5e-3)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    chip.program(model)
    assert loss() < 0.6 * before
    stuck = crossbars(model)[0].stuck
    assert torch.allclose(crossbars(model)[0].G[stuck], torch.tensor(100e-6), atol=0.0)


def test_checkpoint_copy_and_pickle():
    chip, model = placed()
    mho.age(model, 5.0)
    state = chip.state_dict()  # up to date by itself
    region = chip.regions["model 1/0"][0]
    assert torch.equal(region.of(state["cells.g"]), crossbars(model)[0].G[0])
    other = Chip(150, 150, HARDWARE, seed=9)
    other.load_state_dict(state)
    assert other.regions == chip.regions
    assert torch.equal(other.read("model 1/2", 1), chip.read("model 1/2", 1))
    second = mho.convert(mlp(), HARDWARE)
    other.place(second)
    every = [r for regions in other.regions.values() for r in regions]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(every, 2))
    both = copy.deepcopy((chip, model))
    mho.program(both[1])
    assert int(both[0].wear.max()) == 2
    assert int(chip.wear.max()) == 1
    with pytest.raises((RuntimeError, ValueError), match=r"another chip|size mismatch"):
        Chip(20, 20, HARDWARE).load_state_dict(state)


def naive_row_costs(target, stuck, held, c):
    slices, rows, cols = target.shape
    cost = torch.zeros(rows, rows, dtype=target.dtype)
    for i, p, j in itertools.product(range(rows), range(rows), range(cols)):
        e = sum(c[s] * (held[s, p, j] - target[s, i, j]) for s in range(slices) if stuck[s, p, j])
        cost[i, p] += e**2
    return cost


@pytest.mark.parametrize("slices", [1, 2, 4])
def test_costs_of_rows_and_their_best_order(slices):
    source = torch.Generator().manual_seed(slices)
    kind = {"generator": source, "dtype": torch.float64}
    target, held = torch.rand(slices, 6, 5, **kind), torch.rand(slices, 6, 5, **kind)
    stuck = torch.rand(slices, 6, 5, **kind) < 0.3
    c = [1.0, -1.0, 4.0, -4.0][:slices]
    cost = naive_row_costs(target, stuck, held, c)
    assert torch.allclose(row_costs(target, stuck, held, c), cost, atol=1e-12)
    order = best_order(target * 1e-6, stuck, held * 1e-6, c)
    best = min(
        sum(float(cost[i, p]) for i, p in enumerate(places))
        for places in itertools.permutations(range(6))
    )
    assert float(cost[torch.arange(6), order].sum()) == pytest.approx(best)


@pytest.mark.parametrize("which", ["rows", "cols", "both"])
@pytest.mark.parametrize(
    "encoding", [Differential(), SingleColumn(), LEA(copies=2), InnerFaultTolerance(copies=2)]
)
def test_permuted_lines_err_less_and_are_the_same_matrix(encoding, which):
    hardware = Hardware(encoding=encoding, effects=(StuckAt(low=0.1, high=0.1),))
    (plain_chip, plain), (chip, model) = (
        placed("packed", hardware, permute=permute) for permute in (None, which)
    )
    before, after = (sum(e.norm**2 for e in mapping_error(m).values()) for m in (plain, model))
    if not isinstance(encoding, InnerFaultTolerance):
        assert after < 0.95 * before
    assert plain_chip.regions == chip.regions
    # Every physical cell is used once, holds what its logical cell says, and stays stuck.
    assert torch.equal(chip.G[chip.stuck], plain_chip.G[chip.stuck])
    for crossbar, label in zip(crossbars(model), chip.regions, strict=True):
        for s in range(len(crossbar.G)):
            held = chip.read(label, s)
            assert torch.equal(held.flatten().sort()[0], crossbar.G[s].flatten().sort()[0])
    x = torch.randn(3, 30)
    assert torch.allclose(model(x), mho.collapse(model)(x), atol=1e-4)


def test_small_weights_land_on_cells_stuck_low():
    weight = torch.zeros(8, 3)
    weight[:4] = 1.0
    given = (torch.zeros(8, 3, dtype=torch.bool), torch.zeros(8, 3))
    given[0][:4] = True  # stuck at nothing, right under the large weights
    hardware = Hardware(encoding=SingleColumn(), device=LinearDevice(0.0, 1e-4))
    errors = {}
    for permute in (None, "rows"):
        chip = Chip(8, 4, hardware, stuck=tuple(nn.functional.pad(g, (0, 1)) for g in given))
        crossbar = Crossbar(8, 3, hardware)
        crossbar.program(1 - 2 * weight)  # largest where the stuck cells are
        chip.place(crossbar, "packed", permute=permute)
        errors[permute] = mapping_error(crossbar, 1 - 2 * weight).norm
    assert errors[None] == pytest.approx(0.0, abs=1e-5)
    assert errors["rows"] == pytest.approx(0.0, abs=1e-5)
    for permute in (None, "rows"):
        chip = Chip(8, 4, hardware, stuck=tuple(nn.functional.pad(g, (0, 1)) for g in given))
        crossbar = Crossbar(8, 3, hardware)
        crossbar.program(2 * weight - 1)
        chip.place(crossbar, "packed", permute=permute)
        errors[permute] = mapping_error(crossbar, 2 * weight - 1).norm
    assert errors[None] == pytest.approx(2 * 12**0.5)
    assert errors["rows"] == pytest.approx(0.0, abs=1e-5)


def test_permuting_groups_is_refused():
    conv = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)).eval()
    with pytest.raises(ValueError, match="2 groups"):
        placed(model=conv, permute="rows")


def test_mapping_error_numbers():
    asked = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    found = MappingError.between(torch.tensor([[3.0, 0.0], [1.0, 1.0]]), asked)
    assert found.norm == pytest.approx(10**0.5)
    assert found.relative == pytest.approx(10**0.5 / 5)
    assert found.rms == pytest.approx((10 / 4) ** 0.5)
    assert found.worst == 3.0
    assert found.bias == -0.5
    assert found.columns.tolist() == [3.0, 1.0]
    assert found.wrong == 0.25
    with pytest.raises(ValueError, match="give the weight"):
        mapping_error(Crossbar(2, 2, Hardware()))


def test_the_chip_runs_a_network_with_every_strategy():
    x = torch.randn(5, 30)
    for encoding in (LEA(copies=3), LEA(copies=3, tuned=True), InnerFaultTolerance(copies=3)):
        hardware = HARDWARE.replace(encoding=encoding)
        _, model = placed(hardware=hardware)
        _, single = placed()
        wanted = mlp()(x)
        assert (model(x) - wanted).norm() < (single(x) - wanted).norm()


def test_weights_that_are_not_finite_change_nothing():
    chip = Chip(60, 60, HARDWARE)
    model = mho.convert(mlp(), HARDWARE)
    before = crossbars(model)[0].G.clone()
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="weight of 2 must be finite"):
        chip.place(model)
    assert not chip.regions
    assert torch.equal(crossbars(model)[0].G, before)


def test_who_moves_in_finds_a_clock_that_starts():
    """As its cells are written when it moves in, whatever they held before."""
    hardware = Hardware(effects=(mho.effects.ReadDisturb(1e4),))
    model = mho.convert(nn.Linear(4, 3), hardware)
    mho.age(model, 100.0, reads=50)
    Chip(20, 20, hardware, seed=1).place(model)
    assert model.crossbar.seconds == 0.0
    assert model.crossbar.cells.reads == 0.0
