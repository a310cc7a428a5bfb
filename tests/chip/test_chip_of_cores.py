"""Chips of several cores: tiles lie apart, and everything else is as on one field of cells."""

import copy

import pytest
import torch
from torch import nn

import mho
from mho.chip import Chip, Cores, LayerShape, Rewriting, place
from mho.chip.tenants import ON_CORES
from mho.effects import StuckAt

CORES = Cores(count=24, rows=32, cols=24)
FAULTY = mho.Hardware(array=mho.Array(32, 24), effects=(StuckAt(low=0.05, high=0.03),))


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 16, 10),
    ).eval()  # fmt: skip


X = torch.rand(4, 3, 8, 8)


def assert_cells_are_the_chips(chip, model, *, name=""):
    seen = torch.zeros(chip.G.shape, dtype=torch.int32).view(-1)
    crossbars = mho.crossbars(model)
    for resident in chip.residents:
        if resident.crossbar is None or (name and resident.owner != name):
            continue
        crossbar = crossbars[resident.name]
        where = resident.place
        assert torch.equal(chip.G.view(-1)[where], crossbar.G)
        assert torch.equal(chip.stuck.view(-1)[where], crossbar.stuck)
        assert torch.equal(chip.wear.view(-1)[where], crossbar.writes)
        seen.index_add_(0, where.flatten(), torch.ones(where.numel(), dtype=torch.int32))
    assert int(seen.max()) == 1


@pytest.mark.parametrize(
    ("encoding", "interleaved", "arrays"),
    [
        (mho.encoding.Differential(), False, 2),
        (mho.encoding.Differential(), True, 1),
        (mho.encoding.Differential(subtract="digital"), False, 1),
        (mho.encoding.BitSliced(), False, 3),
        (mho.encoding.SingleColumn(), False, 1),
    ],
)
@pytest.mark.parametrize("strategy", [*ON_CORES, "mapping"])
def test_a_model_lives_on_cells_of_the_cores(encoding, interleaved, arrays, strategy):
    array = FAULTY.array.replace(interleaved=interleaved)
    hardware = FAULTY.replace(encoding=encoding, array=array)
    cores = CORES.replace(count=120, arrays=arrays)
    chip = Chip(cores=cores, hardware=hardware, seed=1)
    broken = chip.stuck.clone()
    model = mho.convert(net(), hardware)
    if strategy == "mapping":
        strategy = place(model, cores, "layer", inputs=X)
    found = chip.place(model, strategy)
    assert_cells_are_the_chips(chip, model)
    cells = sum(crossbar.G.numel() for crossbar in mho.crossbars(model).values())
    assert sum(region.cells for regions in found.values() for region in regions) == cells
    assert int(chip.occupied.sum()) == cells
    for region in (region for regions in found.values() for region in regions):
        assert region.row // cores.rows == (region.bottom - 1) // cores.rows
    before = model(X)
    mho.program(model)
    assert_cells_are_the_chips(chip, model)
    assert torch.equal(chip.stuck, broken)
    assert int(chip.wear.max()) == 2
    chip.remove(model)
    assert chip.occupancy == 0
    assert before.isfinite().all()


def test_slices_of_a_pair_lie_at_the_same_place_of_one_core():
    chip = Chip(cores=CORES, hardware=FAULTY)
    model = mho.convert(net(), FAULTY)
    for strategy in ON_CORES:
        for regions in chip.place(model, strategy).values():
            half = len(regions) // 2
            for plus, minus in zip(regions[:half], regions[half:], strict=True):
                assert plus.row // 32 % 2 == 0
                assert minus == plus.replace(row=plus.row + 32)
        chip.remove(model)


def test_it_computes_what_those_cells_hold():
    # By hand: the weights that the chip's cells stand for, in plain torch.
    hardware = FAULTY.replace(effects=(StuckAt(low=0.1),))
    chip = Chip(cores=CORES, hardware=hardware, seed=3)
    layer = nn.Linear(80, 60)
    model = mho.convert(layer, hardware)
    (regions,) = chip.place(model).values()
    g = torch.zeros(2, 80, 60)
    down, across = [(0, 32), (32, 64), (64, 80)], [(0, 24), (24, 48), (48, 60)]
    order = iter(regions)
    for array in range(2):
        for top, bottom in down:
            for left, right in across:
                g[array, top:bottom, left:right] = next(order).of(chip.G)
    (crossbar,) = mho.crossbars(model).values()
    weight = crossbar.scale * (g[0] - g[1])
    x = torch.rand(7, 80)
    assert torch.allclose(model(x), x @ weight + layer.bias, atol=1e-5)
    assert not torch.allclose(model(x), layer(x), atol=1e-2)


@pytest.mark.parametrize("strategy", ON_CORES)
def test_pairs_lie_above_one_another_where_there_are_arrays(strategy):
    chip = Chip(cores=CORES.replace(count=2, arrays=5), hardware=FAULTY)
    models = [mho.convert(nn.Linear(32, 24), FAULTY, seed=i) for i in range(5)]
    for i, model in enumerate(models[:4]):
        if strategy in ("layer", "tile") and i > 1:  # they begin on a fresh core
            strategy = "packed"
        chip.place(model, strategy)
        assert_cells_are_the_chips(chip, model, name=chip.residents[-1].owner)
    taken = chip.occupied.view(2, 5, -1).all(2)
    assert taken.tolist() == [[True] * 4 + [False]] * 2
    with pytest.raises(ValueError, match=r"no room|1 too few"):
        chip.place(models[4], strategy)


def test_greedy_takes_the_place_with_the_fewest_defects():
    hardware = FAULTY.replace(effects=(StuckAt(low=0.2),))
    chip = Chip(cores=CORES.replace(count=3), hardware=hardware)
    model = mho.convert(nn.Linear(20, 9), hardware)
    ((plus, minus),) = chip.place(model, "greedy").values()
    here = int(plus.of(chip.stuck).sum() + minus.of(chip.stuck).sum())
    pairs = chip.stuck.view(3, 2, 32, 24).sum(1)
    best = min(
        int(pairs[core, row : row + 20, col : col + 9].sum())
        for core in range(3)
        for row in range(13)
        for col in range(16)
    )
    assert here == best


def test_several_models_share_a_chip_until_it_is_full():
    chip = Chip(cores=CORES.replace(count=2), hardware=FAULTY)
    models = [mho.convert(nn.Linear(16, 12), FAULTY, seed=i) for i in range(9)]
    for i, model in enumerate(models[:8]):
        chip.place(model, ("packed", "greedy")[i > 6])
        assert_cells_are_the_chips(chip, model, name=chip.residents[-1].owner)
    regions = [r for resident in chip.residents for r in resident.regions]
    assert not any(a.overlaps(b) for i, a in enumerate(regions) for b in regions[:i])
    state = chip.G.clone()
    with pytest.raises(ValueError, match=r"too few: the network needs .* beside what lies there"):
        chip.place(models[8], "packed")
    with pytest.raises(ValueError, match=r"no room for a tile .* try strategy='packed'"):
        chip.place(mho.convert(nn.Linear(32, 24), FAULTY), "greedy")
    assert torch.equal(chip.G, state)


def test_gaps_between_others_are_found():
    hardware = FAULTY.replace(effects=())
    chip = Chip(cores=CORES.replace(count=1), hardware=hardware)
    wide, small, model = (
        mho.convert(nn.Linear(rows, cols), hardware)
        for rows, cols in ((16, 24), (16, 12), (16, 12))
    )
    chip.place(wide, "packed")
    chip.place(small, "packed")
    chip.remove(wide)  # above the other: a gap
    for _ in range(3):
        chip.place(mho.convert(nn.Linear(16, 12), hardware), "packed")
    assert chip.occupancy == 1.0
    with pytest.raises(ValueError, match="1 too few"):
        chip.place(model, "packed")


def test_copies_are_reserved_and_said():
    chip = Chip(cores=CORES, hardware=FAULTY)
    model = mho.convert(net(), FAULTY)
    mapping = place(model, CORES, "layer", inputs=X, copies="balanced")
    assert max(mapping.copies) > 1
    chip.place(model, mapping)
    assert int(chip.occupied.sum()) == sum(tile.cells for tile in mapping.tiles)
    assert chip.occupancy == pytest.approx(mapping.utilisation)
    assert_cells_are_the_chips(chip, model)
    with pytest.raises(ValueError, match="core 0 is taken where"):
        chip.place(mho.convert(net(), FAULTY), mapping)


def test_a_chip_of_cores_in_service_is_resumed(tmp_path):
    chip = Chip(cores=CORES, hardware=FAULTY)
    model = mho.convert(net(), FAULTY)
    chip.place(model, place(model, CORES, "layer", inputs=X, copies={"0": 3}))
    chip.age(100.0)
    torch.save({"chip": chip.state_dict(), "model": model.state_dict()}, tmp_path / "x.pt")
    saved = torch.load(tmp_path / "x.pt", weights_only=True)
    other = Chip(cores=CORES, hardware=FAULTY, seed=7)
    again = mho.convert(net(), FAULTY)
    other.load_state_dict(saved["chip"])
    again.load_state_dict(saved["model"])
    other.join(again)
    assert torch.equal(again(X), model(X))
    assert other.occupancy == chip.occupancy
    assert other.regions == chip.regions
    other.program(again)
    assert_cells_are_the_chips(other, again)
    both = copy.deepcopy(nn.ModuleList([chip, model]))
    assert torch.equal(both[1](X), model(X))
    mho.program(both[1])
    assert int(both[0].wear.max()) == 2
    assert int(chip.wear.max()) == 1


def test_training_reads_through_the_chips_cells():
    chip = Chip(cores=CORES, hardware=FAULTY)
    model = mho.convert(nn.Linear(50, 30), FAULTY)
    chip.place(model)
    broken = chip.stuck.clone()
    x = torch.rand(3, 50)
    stored = model.eval()(x)
    assert torch.allclose(model.train()(x), stored, atol=1e-5)  # the same cells, broken ones too
    model(x).sum().backward()
    assert torch.equal(chip.stuck, broken)
    assert next(iter(mho.crossbars(model).values())).injection.own_cells


def test_worn_word_lines_are_left_out():
    hardware = FAULTY.replace(effects=())
    chip = Chip(cores=CORES.replace(count=2), hardware=hardware, endurance=1)
    model = mho.convert(nn.Linear(32, 24), hardware)
    first = chip.place(model, "packed")
    chip.remove(model)
    second = chip.place(model, "packed")
    assert first != second
    chip.remove(model)
    with pytest.raises(ValueError, match="1 too few"):
        chip.place(model, "packed")


def test_other_chips_and_other_models_are_refused():
    chip = Chip(cores=CORES, hardware=FAULTY)
    model = mho.convert(net(), FAULTY)
    with pytest.raises(ValueError, match="rows and cols follow from cores"):
        Chip(100, cores=CORES)
    with pytest.raises(TypeError, match="cores must be Cores"):
        Chip(cores=24)
    with pytest.raises(ValueError, match="one field of cells"):
        Chip(200, 200, FAULTY).place(model, place(model, CORES))
    with pytest.raises(ValueError, match="strategy must be one of 'greedy', 'random', 'packed';"):
        Chip(200, 200, FAULTY).place(model, "layer")
    with pytest.raises(ValueError, match=r"strategy must be one of .* 'tile'"):
        chip.place(model, "best")
    with pytest.raises(ValueError, match="permute must be None on a chip of cores"):
        chip.place(model, permute="rows")
    with pytest.raises(ValueError, match="the mapping is of another chip"):
        chip.place(model, place(model, CORES.replace(count=30)))
    with pytest.raises(ValueError, match=r"the mapping is of another model: .*'5'"):
        chip.place(model, place(mho.convert(net()[:3], FAULTY), CORES))
    with pytest.raises(ValueError, match="of another model"):
        chip.place(model, place([LayerShape("0", 27, 8)], CORES))
    with pytest.raises(ValueError, match="has 2 turns"):
        Chip(cores=CORES.replace(count=9), hardware=FAULTY).place(
            model, place(model, CORES.replace(count=9), "tile", turns=Rewriting())
        )
    assert not chip.residents
    twice = Chip(cores=CORES.replace(count=48, arrays=1), hardware=FAULTY)
    with pytest.raises(ValueError, match="checkpoint is of another chip: cores"):
        twice.load_state_dict(chip.state_dict())
    with pytest.raises(ValueError, match="checkpoint is of another chip: cores"):
        Chip(24 * 64, 24, FAULTY).load_state_dict(chip.state_dict())


def test_one_core_of_one_array_is_a_field():
    """The same cells from the same seed are other chips: a field has none of a core's limits."""
    field = Chip(32, 24, FAULTY, seed=2)
    core = Chip(cores=Cores(count=1, rows=32, cols=24, arrays=1), hardware=FAULTY, seed=2)
    assert torch.equal(field.stuck, core.stuck)
    assert field.cells.identity != core.cells.identity
    assert "1 cores of 1 × 32 × 24 cells" in repr(core)
