"""The mapper: no overlaps, nothing beyond a core, every weight placed as often as it should be."""

import copy
import pickle
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mho
from mho.chip import Cores, LayerShape, Rewriting, place
from mho.chip.laying import POLICIES
from mho.chip.packing import Packer, Skyline
from mho.chip.placement import Region

MANY = 10_000
SMALL = Cores(count=MANY, rows=16, cols=12, arrays=2)

layers = st.lists(
    st.builds(
        LayerShape,
        name=st.just(""),
        rows=st.integers(1, 50),
        cols=st.integers(1, 40),
        reads=st.integers(1, 60).map(float),
        groups=st.integers(1, 3),
        arrays=st.sampled_from([(1,), (2,), (1, 1), (2, 1)]),
        tile=st.sampled_from([None, (16, 12), (7, 5)]),
    ),
    min_size=1,
    max_size=8,
).map(lambda found: [layer.replace(name=f"layer {i}") for i, layer in enumerate(found)])


def cells_of(mapping):
    """Count what lies on every cell of the chip, turn by turn, in whole tensors."""
    chip = mapping.cores
    shape = (mapping.turns, chip.count * chip.arrays * chip.rows, chip.cols)
    count = torch.zeros(shape, dtype=torch.int32)
    for tile in mapping.tiles:
        for region in tile.regions(chip):
            assert region.row // chip.rows == (region.bottom - 1) // chip.rows
            assert region.right <= chip.cols
            region.of(count[tile.turn]).add_(1)
    return count


def assert_sound(mapping):
    count = cells_of(mapping)
    assert int(count.max()) <= 1
    wanted = sum(s.cells * n for s, n in zip(mapping.shapes, mapping.copies, strict=True))
    assert int(count.sum()) == wanted
    seen = Counter((t.layer, t.copy, t.piece) for t in mapping.tiles)
    assert set(seen.values()) == {1}
    for index, (shape, copies) in enumerate(zip(mapping.shapes, mapping.copies, strict=True)):
        pieces = set(shape.pieces(mapping.cores))
        for number in range(copies):
            assert {t[2] for t in seen if t[:2] == (index, number)} == pieces
    assert max(t.core for t in mapping.tiles) < mapping.cores.count
    assert max(t.array + t.piece.arrays for t in mapping.tiles) <= mapping.cores.arrays


def fitted(found, policy, **options):
    """Map layers on a chip that is just large enough."""
    used = place(found, SMALL, policy).cores_used
    return place(found, SMALL.replace(count=used), policy, **options)


@settings(max_examples=60)
@given(layers, st.sampled_from(POLICIES))
def test_every_weight_is_placed_once(found, policy):
    mapping = fitted(found, policy)
    assert_sound(mapping)
    assert mapping == fitted(found, policy)
    assert mapping.copies == (1,) * len(found)
    cells = sum(layer.cells for layer in found)
    assert mapping.utilisation == pytest.approx(cells / mapping.cores.cells)
    if mapping.cores.count > 1:
        smaller = mapping.cores.replace(count=mapping.cores.count - 1)
        with pytest.raises(ValueError, match="1 too few"):
            place(found, smaller, policy)


@settings(max_examples=60)
@given(layers)
def test_policies_share_what_they_say(found):
    packed, layer, tile = (place(found, SMALL, policy) for policy in POLICIES)
    assert packed.cores_used <= layer.cores_used <= tile.cores_used
    assert tile.cores_used == len(tile.tiles)
    owners = {}
    for t in layer.tiles:
        assert owners.setdefault(t.core, t.layer) == t.layer
    assert not any(found.shared for found in (*layer.layers, *tile.layers))


@settings(max_examples=40)
@given(layers, st.sampled_from(POLICIES), st.integers(0, 30))
def test_copies_fit_and_never_make_it_slower(found, policy, free):
    alone = fitted(found, policy)
    chip = alone.cores.replace(count=alone.cores.count + free)
    mapping = place(found, chip, policy, copies="balanced")
    assert_sound(mapping)
    assert mapping.interval <= alone.interval * (1 + 1e-12)
    assert place(found, chip, policy, copies="balanced") == mapping
    named = {s.name: n for s, n in zip(found, mapping.copies, strict=True)}
    assert place(found, chip, policy, copies=named) == mapping


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 3)), min_size=1, max_size=3),
    st.integers(0, 7),
)
def test_balanced_copies_are_the_best_there_are(wanted, free):
    # Beside every way to hand out copies.
    found = [
        LayerShape(f"{i}", 16 * tiles, 12, reads=float(reads))
        for i, (reads, tiles) in enumerate(wanted)
    ]
    count = sum(tiles for _, tiles in wanted) + free
    mapping = place(found, SMALL.replace(count=count), "tile", copies="balanced")

    def best(rest, left):
        if not rest:
            return 0
        (reads, tiles), *others = rest
        return min(
            max(-(-reads // n), best(others, left - (n - 1) * tiles))
            for n in range(1, 2 + left // tiles)
        )

    assert mapping.interval == pytest.approx(best(wanted, free) * SMALL.read_time)


@settings(max_examples=40)
@given(layers, st.sampled_from(POLICIES), st.integers(1, 4), st.integers(1, 9))
def test_in_turns_any_network_fits(found, policy, count, batch):
    turns = Rewriting(batch, row_time=1e-6, cell_energy=2.0, cell_pulses=3.0, endurance=1e6)
    mapping = place(found, SMALL.replace(count=count), policy, turns=turns)
    assert_sound(mapping)
    if mapping.turns == 1:
        assert mapping.rewriting_energy == mapping.rewriting_time == mapping.wear == 0.0
        assert mapping.batch == 1
        assert mapping.lifetime is None
        return
    # By hand: whole cores are rewritten where several turns use them.
    used = Counter(core for turn in range(mapping.turns) for core in
                   {t.core for t in mapping.tiles if t.turn == turn})  # fmt: skip
    written = [t for t in mapping.tiles if used[t.core] > 1]
    cells = sum(t.cells for t in written)
    assert mapping.rewriting_energy == pytest.approx(cells * 2.0 / batch)
    assert mapping.rewriting_pulses == pytest.approx(cells * 3.0 / batch)
    assert mapping.wear == pytest.approx(3.0 * max(used.values()) / batch)
    assert mapping.lifetime == pytest.approx(1e6 / mapping.wear)
    rows = Counter()
    for t in written:
        rows[t.turn, t.core] += t.piece.height * t.piece.arrays
    longest = [max(n for (turn, _), n in rows.items() if turn == k)
               for k in {turn for turn, _ in rows}]  # fmt: skip
    assert mapping.rewriting_time == pytest.approx(1e-6 * sum(longest) / batch)
    one_by_one = place(found, mapping.cores, policy, turns=turns.replace(at_once=1)).rewriting_time
    assert one_by_one == pytest.approx(1e-6 * sum(rows.values()) / batch)
    assert mapping.latency == pytest.approx(mapping.reading_time + mapping.rewriting_time * batch)
    assert mapping.throughput == pytest.approx(batch / mapping.latency)


def test_what_is_not_known_is_none():
    found = [LayerShape(f"{i}", 16, 12, reads=2.0) for i in range(3)]
    mapping = place(found, SMALL.replace(count=1), turns=Rewriting())
    assert mapping.turns == 3
    assert mapping.latency is mapping.interval is mapping.throughput is None
    assert mapping.rewriting_energy is mapping.wear is mapping.lifetime is None
    assert "not known" in str(mapping)
    with pytest.raises(ValueError, match="row_time"):
        mapping.timeline()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 16), st.integers(1, 12)), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(1, 16), st.integers(1, 12)), max_size=4),
)
def test_what_is_taken_is_left_alone(sizes, before):
    first = Packer.on(SMALL)
    held = [
        Region(core * 32 + array * 16 + row, col, height, width)
        for height, width in before
        for core, array, row, col in [first.put(height, width, 1)]
    ]
    packer = Packer.on(SMALL, held[::-1])
    count = torch.zeros(100 * 32, 12, dtype=torch.int32)
    for region in held:
        region.of(count).add_(1)
    for height, width in sizes:
        core, array, row, col = packer.put(height, width, 1)
        assert row + height <= 16
        assert col + width <= 12
        Region(core * 32 + array * 16 + row, col, height, width).of(count).add_(1)
    assert int(count.max()) <= 1


def test_a_skyline_takes_the_highest_place_leftmost():
    sky = Skyline(10, 10)
    assert sky.fit(4, 6) == (0, 0)
    sky.take(0, 0, 4, 6)
    assert sky.fit(5, 5) == (4, 0)
    assert sky.fit(5, 4) == (0, 6)
    sky.take(0, 6, 5, 4)
    assert sky.fit(7, 1) is None
    assert sky.fit(5, 10) == (5, 0)
    sky.take(5, 0, 5, 10)
    assert not sky
    assert sky.fit(1, 1) is None


def test_a_skyline_keeps_what_is_beside_a_rectangle_in_the_middle():
    sky = Skyline(10, 10)
    sky.take(0, 0, 2, 10)
    sky.take(2, 3, 3, 4)
    sky.take(2, 8, 1, 1)
    assert sky.steps == [(0, 2, 3), (3, 5, 4), (7, 2, 1), (8, 3, 1), (9, 2, 1)]
    assert sky.fit(8, 3) == (2, 0)
    sky.take(2, 0, 8, 3)
    assert sky.fit(8, 1) == (2, 7)
    assert sky.fit(8, 2) is None
    assert sky.fit(7, 3) == (3, 7)
    assert sky.fit(5, 7) == (5, 3)


# ── models ───────────────────────────────────────────────────────────────────────────────────


class Net(nn.Module):
    """Modules in another order than they are used in."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(32, 10)
        self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=4)
        self.first = nn.Conv2d(3, 16, 3, padding=1)

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu()
        return self.head(x.mean((2, 3)))


HARDWARE = mho.Hardware(array=mho.Array(64, 64))
CHIP = Cores(count=20, rows=64, cols=64)


def test_reads_and_order_are_those_of_the_model():
    net, x = Net(), torch.rand(2, 3, 12, 12)
    mapping = place(net, CHIP, "layer", hardware=HARDWARE, inputs=x)
    assert [s.name for s in mapping.shapes] == ["first", "second", "head"]
    assert [s.reads for s in mapping.shapes] == [144.0, 36.0, 1.0]
    assert [(s.groups, s.rows, s.cols) for s in mapping.shapes] == [
        (1, 27, 16), (4, 36, 8), (1, 32, 10)]  # fmt: skip
    analog = mho.convert(net, HARDWARE)
    assert place(analog, CHIP, "layer", inputs=x) == mapping
    with torch.device("meta"):
        empty = Net()
    assert place(empty, CHIP, "layer", hardware=HARDWARE, inputs=x) == mapping
    twice = place(net, CHIP, "layer", hardware=HARDWARE, inputs=x, samples=1)
    assert twice.shapes[0].reads == 288.0
    unread = place(net, CHIP, "layer", hardware=HARDWARE)
    assert [s.name for s in unread.shapes] == ["head", "second", "first"]
    assert {s.reads for s in unread.shapes} == {1.0}


def test_slices_whose_currents_are_joined_lie_on_one_core():
    net = nn.Linear(20, 10)
    for encoding, arrays in (
        (mho.encoding.Differential(), (2,)),
        (mho.encoding.Differential(subtract="digital"), (1, 1)),
        (mho.encoding.SingleColumn(), (1,)),
    ):
        hardware = HARDWARE.replace(encoding=encoding)
        (shape,) = place(net, CHIP, hardware=hardware).shapes
        assert shape.arrays == arrays
        assert shape.cols == encoding.physical_cols(10)
    one = mho.Array(64, 64, interleaved=True)
    (shape,) = place(net, CHIP.replace(arrays=1), hardware=mho.Hardware(array=one)).shapes
    assert (shape.arrays, shape.cols) == ((1,), 20)
    with pytest.raises(ValueError, match=r"joins the currents of 2 arrays .* a core has 1"):
        place(net, CHIP.replace(arrays=1), hardware=HARDWARE)


def test_models_of_several_crossbars_a_layer():
    lstm = nn.LSTM(8, 16, batch_first=True)
    mapping = place(lstm, CHIP, hardware=HARDWARE, inputs=torch.rand(4, 7, 8))
    analog = mho.convert(lstm, HARDWARE)
    assert {s.name for s in mapping.shapes} == set(mho.crossbars(analog))
    assert [s.reads for s in mapping.shapes] == [7.0] * len(mapping.shapes)


def test_attention_and_tables():
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(32, 50)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
            self.words = nn.Embedding(50, 32)

        def forward(self, x):
            x = self.words(x)
            return self.head(self.attention(x, x, x)[0])

    words = torch.randint(50, (2, 5))
    digital = place(Decoder(), CHIP, hardware=HARDWARE, inputs=words)
    assert {s.name.partition(".")[0] for s in digital.shapes} == {"attention", "head"}
    assert {s.reads for s in digital.shapes} == {5.0}
    assert place(mho.convert(Decoder(), HARDWARE), CHIP, inputs=words) == digital
    analog = mho.convert(Decoder(), HARDWARE, embeddings=True)
    mapping = place(analog, CHIP, inputs=words)
    assert mapping.shapes[0].name == "words"
    assert mapping.shapes[-1].name == "head"
    assert {s.reads for s in mapping.shapes} == {5.0}


def test_a_crossbar_alone():
    crossbar = mho.Crossbar(70, 20, HARDWARE)
    assert [s.name for s in place(crossbar, CHIP).shapes] == [""]


# ── printed, copied, refused ─────────────────────────────────────────────────────────────────


def test_a_mapping_is_plain_and_prints():
    mapping = place(Net(), CHIP, hardware=HARDWARE, inputs=torch.rand(1, 3, 8, 8))
    assert pickle.loads(pickle.dumps(mapping)) == copy.deepcopy(mapping) == mapping
    text = str(mapping)
    assert "first" in text
    assert "* shared" in text
    assert f"of {CHIP.count} cores" in text
    with pytest.raises(AttributeError):
        mapping.policy = "tile"


def test_specs_go_round():
    for spec in (
        Cores(count=3, rows=8, cols=9, arrays=1, columns_per_converter=4, conversion_time=1e-9),
        Rewriting(batch=4, row_time=1e-6, at_once=2, endurance=1e5),
        LayerShape("a", 3, 4, reads=2.5, groups=2, arrays=(2, 1), tile=(2, 2)),
    ):
        assert type(spec).from_dict(spec.to_dict()) == spec
    assert Cores(cols=100, columns_per_converter=8, conversion_time=1e-9).converters == 13
    with pytest.raises(ValueError, match="conversion_time must be > 0 where 8 columns share"):
        Cores(columns_per_converter=8)
    with pytest.raises(ValueError, match=r"columns_per_converter must be .*<= 256"):
        Cores(columns_per_converter=257)
    chip = Cores(read_time=1e-7, columns_per_converter=8, conversion_time=1e-9)
    assert chip.time(3) == pytest.approx(1.03e-7)
    assert chip.time(200) == pytest.approx(1.08e-7)


def test_what_writing_takes_comes_from_a_report():
    hardware = HARDWARE.replace(
        device=mho.devices.LinearDevice(), programming=mho.programming.Statistical()
    )
    report = mho.program(mho.convert(nn.Linear(100, 80), hardware))
    found = Rewriting.of(report, batch=5, endurance=1e6)
    cells = 2 * 100 * 80
    assert found.cell_pulses == pytest.approx(report.pulses / cells)
    assert (found.batch, found.endurance) == (5, 1e6)
    known = report.seconds is not None
    assert (found.row_time is not None) == known
    with pytest.raises(TypeError, match=r"report must be what mho.program"):
        Rewriting.of(3)


def test_rows_and_cells_share_what_writing_took():
    # 30 and 10 word lines in 6 and 2 ms; 480 and 20 cells; of one the energy may not be known.
    def report(cells, seconds, energy, pulses):
        held = SimpleNamespace(shape=cells, g=torch.zeros(cells))
        return SimpleNamespace(
            written=None, cells=held, tiling=None, seconds=seconds, energy=energy, pulses=pulses
        )

    reports = {"a": report((2, 30, 8), 6e-3, 2e-9, 900), "b": report((1, 10, 2), 2e-3, 1e-9, 100)}
    found = Rewriting.of(reports)
    assert found.row_time == pytest.approx(8e-3 / 40, rel=1e-12)
    assert found.cell_energy == pytest.approx(3e-9 / 500, rel=1e-12, abs=0.0)
    assert found.cell_pulses == 2.0
    reports["b"].energy = None
    assert Rewriting.of(reports).cell_energy is None


@pytest.mark.parametrize("size", [(8, 8), (16, 8), (8, 16), (24, 32)])
def test_a_row_takes_as_long_however_many_arrays_are_written_side_by_side(size):
    verify = mho.programming.WriteVerify(
        read_time=1e-7, order="row", max_pulses=1, on_failure="report"
    )
    hardware = mho.Hardware(device=mho.devices.VTEAM(), array=mho.Array(8, 8), programming=verify)
    torch.manual_seed(0)
    analog = mho.convert(nn.Linear(*size, bias=False), hardware, program=False, seed=0)
    report = mho.program(analog)
    found = Rewriting.of(report)
    # The time is that of the fullest array, of eight rows.
    assert found.row_time == pytest.approx(report.seconds / 8, rel=1e-9, abs=0.0)
    assert found.cell_energy == pytest.approx(
        report.energy / (2 * size[0] * size[1]), rel=1e-9, abs=0.0
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cores": 64}, TypeError, "cores must be Cores"),
        ({"policy": "best"}, ValueError, "policy must be one of 'packed', 'layer', 'tile'"),
        ({"copies": 3}, TypeError, "copies must be 'balanced', or numbers by name"),
        ({"copies": {"nobody": 2}}, ValueError, "every layer in copies must be one of"),
        ({"copies": {"first": 0}}, ValueError, "copies of 'first' must be >= 1"),
        ({"copies": {"first": 99}}, ValueError, "too few for these copies"),
        ({"turns": True}, TypeError, "turns must be Rewriting"),
        ({"read_time": 0.0}, ValueError, "read_time must be > 0"),
        ({"read_time": {"x": 1.0}}, ValueError, "every layer in read_time"),
        ({"hardware": None}, ValueError, "hardware must be given"),
        ({"model": torch.nn.ReLU()}, ValueError, "no layer to convert"),
        ({"model": "resnet"}, TypeError, "model must be Module or list or tuple"),
        (
            {
                "model": mho.convert(Net(), HARDWARE, program=False),
                "hardware": None,
                "inputs": torch.rand(1, 3, 8, 8),
            },
            ValueError,
            "never programmed, since it cannot be traced",
        ),
        ({"model": []}, ValueError, "layers must be at least one|is of a model"),
        ({"samples": 2}, ValueError, "there are no inputs"),
        ({"inputs": "text"}, TypeError, "inputs must be"),
        ({"inputs": torch.rand(0, 3, 8, 8)}, ValueError, "at least one sample"),
        ({"cores": CHIP.replace(rows=16)}, ValueError, "more than the 16 × 64 of a core"),
    ],
)
def test_refusals(change, error, message):
    call = {"model": Net(), "cores": CHIP, "hardware": HARDWARE, **change}
    with pytest.raises(error, match=message):
        place(**call)


def test_layers_are_refused_where_they_say_nothing():
    one = LayerShape("a", 2, 2, reads=0.0)
    with pytest.raises(ValueError, match="'a' are there twice"):
        place([one, one], CHIP)
    with pytest.raises(ValueError, match="all have 0 reads"):
        place([one], CHIP)
    with pytest.raises(TypeError, match="every layer must be LayerShape"):
        place([(2, 2)], CHIP)
    with pytest.raises(ValueError, match="is of a model"):
        place([one.replace(reads=1.0)], CHIP, inputs=torch.rand(2))
    big = LayerShape("big", 640, 64)
    with pytest.raises(ValueError, match="larger than the chip"):
        place([big], CHIP.replace(count=4), turns=Rewriting(), copies={"big": 2})
    with pytest.raises(ValueError, match=r"2 too few: .* take Cores\(count=22\)"):
        place([LayerShape("big", 64 * 22, 64)], CHIP)


def test_read_times_may_be_given():
    found = [LayerShape(n, 8, 8, reads=10.0) for n in "ab"]
    mapping = place(found, CHIP, "layer", read_time={"b": 1e-6})
    assert [layer.stage for layer in mapping.layers] == pytest.approx([10 * 133e-9, 1e-5])
    assert place(found, CHIP, "layer", read_time=2e-6).latency == pytest.approx(4e-5)


@pytest.mark.parametrize("converted", [False, True])
def test_sequences_with_time_first_are_counted_as_costs_count_them(converted):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn, self.head = nn.Embedding(9, 4), nn.GRU(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(self.rnn(self.embedding(x))[0][-1])

    torch.manual_seed(0)
    model, tokens = Tagger(), torch.arange(21).remainder(9).view(7, 3)
    given = {} if converted else {"hardware": HARDWARE}
    found = place(
        mho.convert(model, HARDWARE) if converted else model, CHIP, inputs=tokens, **given
    )
    reads = {shape.name: shape.reads for shape in found.shapes}
    assert reads["head"] == 1
    assert {reads[name] for name in reads if name.startswith("rnn")} == {7}
    steps = torch.randn(7, 3, 4)
    alone = place(nn.LSTM(4, 6), CHIP, inputs=steps, hardware=HARDWARE)
    assert {shape.reads for shape in alone.shapes} == {7}
    turned = place(nn.LSTM(4, 6, batch_first=True), CHIP, inputs=steps, hardware=HARDWARE)
    assert {shape.reads for shape in turned.shapes} == {3}
