"""Recipes for the lab: every programming makes one, files hold it, and a replay repeats it."""

import csv
import io
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import mho
from mho.circuit import Selector, Wires
from mho.devices import (
    PCM,
    VTEAM,
    ExponentialDevice,
    LinearDevice,
    LinearIonDrift,
    SoftBoundsDevice,
)
from mho.effects import StuckAt
from mho.programming import (
    Exact,
    OpenLoop,
    ProductDescent,
    Pulses,
    Recipe,
    Statistical,
    WriteVerify,
    load_recipe,
    replay,
    save_recipe,
    write_verify,
)

VOLTS = VTEAM(r_on=1e4, r_off=1e5, v_on=-1.0, v_off=1.0, k_on=-1e-2, k_off=1e-2, alpha_on=1.0)
COUNTED = ExponentialDevice(nonlinearity_set=1.5, nonlinearity_reset=-1.5, levels=60)
BEFORE = Path(__file__).resolve().parents[1] / "data"
WEIGHT = torch.linspace(-1.0, 1.0, 70).view(10, 7).sin()
POLICIES = {
    "exact": (LinearDevice(), Exact()),
    "statistical": (PCM(), Statistical()),
    "open loop": (COUNTED, OpenLoop()),
    "verified volts": (VOLTS, WriteVerify(record=True)),
    "verified counts": (COUNTED, WriteVerify(tolerance=0.02, record=True)),
    "verified in code": (VOLTS, WriteVerify(hadamard=4, read_noise=0.005, record=True)),
    "passive": (
        VOLTS,
        WriteVerify.for_device(VOLTS, access="1R", order="cell", amplitude=2.4, record=True),
    ),
    "product counts": (COUNTED, ProductDescent(record=True, first=OpenLoop(), batch=32)),
    "product volts": (
        VOLTS,
        ProductDescent(record=True, first=WriteVerify(tolerance=0.1, record=True), batch=32),
    ),
}


def crossbar(device, programming, dtype=torch.float32, **parts):
    parts = {"array": mho.Array(4, 6), **parts}
    hardware = mho.Hardware(device=device, programming=programming, **parts)
    return mho.Crossbar(10, 7, hardware, seed=4, dtype=dtype)


def assert_equal(one, other):
    assert one.sheets.keys() == other.sheets.keys()
    for name, sheet in one.sheets.items():
        twin = other.sheets[name]
        for field in ("target", "final", "place", "pulses", "failure"):
            a, b = getattr(sheet, field), getattr(twin, field)
            assert a.dtype == b.dtype, field
            assert torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)), field
        assert sheet.programming == twin.programming
        assert (sheet.rounds is None) == (twin.rounds is None)
        for r, s in zip(sheet.rounds or (), twin.rounds or (), strict=True):
            assert (r.scheme, r.erase) == (s.scheme, s.erase)
            if r.erase:
                continue
            order = torch.argsort(r.cells)
            assert torch.equal(r.cells[order], s.cells)
            up = torch.as_tensor(r.up).expand(len(order))
            assert torch.equal(up[order], s.up)
            for field in ("volts", "count"):
                a, b = getattr(r, field), getattr(s, field)
                assert (a is None) == (b is None)
                assert a is None or (a.dtype == b.dtype and torch.equal(a[order], b))


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize("name", POLICIES)
def test_every_programming_has_a_recipe_and_files_hold_it_to_the_bit(name, ending, tmp_path):
    report = crossbar(*POLICIES[name]).program(WEIGHT)
    recipe, path = Recipe.of(report), tmp_path / f"chip.{ending}"
    save_recipe(report, path)
    assert_equal(recipe, load_recipe(path))
    assert os.listdir(tmp_path) == [path.name]
    sheet = recipe.sheets[""]
    assert torch.equal(sheet.target, report.target)
    assert torch.equal(sheet.final, report.achieved)
    assert int(sheet.pulses.sum()) == report.pulses


REPLAYED = [name for name in POLICIES if name not in ("exact", "statistical")]


@pytest.mark.parametrize(("dtype", "interleaved"), [(torch.float32, False), (torch.float64, True)])
@pytest.mark.parametrize("name", REPLAYED)
def test_a_replay_on_the_same_cells_ends_in_the_same_bits(name, dtype, interleaved, tmp_path):
    parts = {"array": mho.Array(4, 6, interleaved=interleaved), "dtype": dtype}
    parts["effects"] = (StuckAt(low=0.03, high=0.03),)
    one, same = (crossbar(*POLICIES[name], **parts) for _ in range(2))
    report = one.program(WEIGHT.to(dtype))
    save_recipe(report, tmp_path / "chip.csv")
    sheet = load_recipe(tmp_path / "chip.csv").sheets[""]
    assert not torch.equal(same.G, one.G)
    cells = same.cells.fork()
    replay(cells, sheet)
    assert torch.equal(cells.g, one.G)
    assert torch.equal(cells.writes, one.writes)
    # One pulse less is not the same: the replay does depend on what is written.
    less = same.cells.fork()
    object.__setattr__(sheet, "rounds", sheet.rounds[:-1])
    replay(less, sheet)
    assert not torch.equal(less.g, one.G)


def test_spread_cells_of_a_passive_array_on_wires_replay_too():
    spread = mho.devices.Spread("Normal", (("loc", -1e-2), ("scale", 1e-3)))
    device = VOLTS.replace(k_on=spread)
    pulses = Pulses(2.4, 0.2, 4.0, 5e-9)
    scheme = WriteVerify(
        set=pulses,
        reset=pulses,
        access="1R",
        order="row",
        wires=Wires(1.0, 1.0, 1.0, 1.0),
        selector=Selector(),
        max_pulses=8,
        on_failure="report",
        record=True,
    )
    low, high = device.window
    goal = low + (high - low) * torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(0))
    one, same, other = (device.fabricate((2, 4, 3), seed=s) for s in (1, 1, 2))
    report = write_verify(one, goal, scheme, select=torch.arange(24).view(2, 4, 3) % 5 > 0)
    assert float(report.achieved.max()) > 1.2 * low  # something moved
    sheet = Recipe.of(report).sheets[""]
    assert bool(sheet.target.isnan().any())
    replay(same, sheet)
    replay(other, sheet)
    assert torch.equal(same.conductance(), one.conductance())
    assert not torch.equal(other.conductance(), one.conductance())


def test_places_are_those_of_the_tiles():
    report = crossbar(COUNTED, OpenLoop()).program(WEIGHT)
    sheet = Recipe.of(report).sheets[""]
    places = report.tiling.places()
    cells = torch.arange(sheet.target.numel())
    assert torch.equal(places[tuple(sheet.place.T)], cells)
    s, r, c = sheet.index.T
    assert torch.equal((s * 10 + r) * 7 + c, cells)
    # 10 × 7 on tiles of 4 × 6, one array a slice: 3 × 2 tiles each.
    assert int(sheet.place[:, 0].max()) == 11
    at = (sheet.index == torch.tensor([1, 9, 6])).all(1).nonzero().item()
    assert sheet.place[at].tolist() == [11, 1, 0]


def test_a_csv_reads_as_a_table_and_says_what_the_lab_needs(tmp_path):
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    hardware = mho.Hardware(device=VOLTS, programming=WriteVerify(record=True))
    analog = mho.convert(model, hardware)
    report = mho.fabricate(analog, seed=3)
    save_recipe(report, tmp_path / "chip.csv")
    text = (tmp_path / "chip.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in text if not line.startswith("#")))
    assert [row["layer"] for row in rows] == ["0"] * 60 + ["1"] * 30
    for row in rows:
        trains = [train.split(":") for train in row["sequence"].split()]
        assert len(trains) == int(row["pulses"])
        numbers = [int(train[0]) for train in trains]
        assert numbers == sorted(set(numbers))
        for _, way, volts, seconds, count in trains:
            assert (float(volts) < 0.0) == (way == "set")  # VTEAM sets with negative voltages
            assert float(seconds) > 0.0
            assert count == "1"
        assert abs(float(row["target_S"]) - float(row["final_S"])) <= 0.01001 * 9e-5
        assert row["failure"] == ""


def test_failures_are_named_and_weights_off_too(tmp_path):
    parts = {"effects": (StuckAt(low=0.1, high=0.1),)}
    for policy, name in ((WriteVerify(), "stuck"), (ProductDescent(batch=32), "weight off")):
        report = crossbar(COUNTED, policy, **parts).program(WEIGHT)
        save_recipe(report, tmp_path / "chip.json")
        data = json.loads((tmp_path / "chip.json").read_text())
        column = data["columns"].index("failure")
        found = [cell[column] for cell in data["crossbars"][0]["cells"]]
        assert found.count(name) == report.failed > 0
        assert set(found) == {"", name}


def test_without_a_record_there_is_a_recipe_but_no_replay(tmp_path):
    bar = crossbar(VOLTS, WriteVerify())
    report = bar.program(WEIGHT)
    save_recipe(report, tmp_path / "chip.csv")
    sheet = load_recipe(tmp_path / "chip.csv").sheets[""]
    assert sheet.rounds is None
    assert int(sheet.pulses.sum()) == report.pulses > 0
    with pytest.raises(ValueError, match="record=True"):
        replay(bar.cells.fork(), sheet)


def test_what_is_no_recipe_is_refused(tmp_path):
    bar = crossbar(COUNTED, OpenLoop())
    report = bar.program(WEIGHT)
    with pytest.raises(ValueError, match=r"path must end with \.csv or \.json"):
        save_recipe(report, tmp_path / "chip.txt")
    with pytest.raises(TypeError, match="report must be"):
        save_recipe(bar, tmp_path / "chip.csv")
    assert os.listdir(tmp_path) == []
    save_recipe(report, tmp_path / "chip.csv")
    whole = (tmp_path / "chip.csv").read_text()
    for text in ("", "a,b\n1,2\n", whole[: len(whole) // 2], whole.replace("recipe 1", "recipe 9")):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.csv is not a whole recipe"):
            load_recipe(tmp_path / "bad.csv")
    for text in ("", "{}", "[]", '{"format": "mho recipe", "version": 2}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json is not a whole recipe"):
            load_recipe(tmp_path / "bad.json")
    with pytest.raises(FileNotFoundError):
        load_recipe(tmp_path / "none.csv")
    sheet = Recipe.of(report).sheets[""]
    with pytest.raises(ValueError, match=r"cells must have shape \[2, 10, 7\]"):
        replay(COUNTED.fabricate((3,)), sheet)
    with pytest.raises(TypeError, match="recipe is of counted pulses"):
        replay(VOLTS.fabricate((2, 10, 7)), sheet)
    with pytest.raises(TypeError, match="cells must be"):
        replay(LinearDevice().fabricate((2, 10, 7)), sheet)


def saved(path, name="verified counts"):
    save_recipe(crossbar(*POLICIES[name]).program(WEIGHT), path)
    return path


def table(path):
    """Of a CSV: the lines of its head and of columns; the rows."""
    lines = path.read_text().splitlines()
    rows = [line for line in lines if line and not line.startswith("#")]
    return [line for line in lines if line.startswith("#")] + rows[:1], list(csv.reader(rows[1:]))


def write_table(path, head, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text("\n".join(head) + "\n" + text.getvalue(), newline="")


@pytest.mark.parametrize("name", POLICIES)
def test_rows_in_any_order_are_those_of_the_same_cells(name, tmp_path):
    recipe = load_recipe(saved(tmp_path / "chip.csv", name))
    head, rows = table(tmp_path / "chip.csv")
    write_table(tmp_path / "sorted.csv", head, sorted(rows, key=lambda row: (row[8], row[5])))
    assert_equal(recipe, load_recipe(tmp_path / "sorted.csv"))
    data = json.loads(saved(tmp_path / "chip.json", name).read_text())
    data["crossbars"][0]["cells"].reverse()
    (tmp_path / "sorted.json").write_text(json.dumps(data))
    assert_equal(recipe, load_recipe(tmp_path / "sorted.json"))


def test_what_a_spreadsheet_makes_of_a_table_is_read(tmp_path):
    recipe = load_recipe(saved(tmp_path / "chip.csv", "passive"))
    rows = list(csv.reader((tmp_path / "chip.csv").read_text().splitlines()))
    text = io.StringIO()
    wide = max(map(len, rows))
    csv.writer(text, lineterminator="\r\n").writerows(r + [""] * (12 - len(r)) for r in rows)
    assert wide > 12  # the head has been cut at its commas
    (tmp_path / "chip.csv").write_text(text.getvalue(), newline="", encoding="utf-8-sig")
    assert_equal(recipe, load_recipe(tmp_path / "chip.csv"))


REFUSED = {
    "array": ["-1", "1", "", "0.0"],
    "bit_line": ["99999", "3", "1e400"],
    "row": ["7", "10", "-3", "x"],
    "target_S": ["nan", "-5", "inf", "x"],
    "final_S": ["inf", "-1e-5", "1e99", ""],
    "pulses": ["-4", "100000", "", "9" * 30],
    "failure": ["foo", "reached"],
    "sequence": [
        "0:set:1.0:1e-07:1",
        "999:set:1.0:1e-07:1",
        "1:sett:1.0:1e-07:1",
        "1:set:1.0:1e-07:-3",
        "1:set:1.0:5:3",
        "1:set:-1.0:1e-07:1",
        "1:set:1.0:1e-07:1 1:set:1.0:1e-07:1",
        "1:set",
        "1:erase:::1",
        "1:set:nan:1e-07:1",
    ],
}


@pytest.mark.parametrize("column", REFUSED)
def test_every_field_that_cannot_be_is_named(column, tmp_path):
    head, rows = table(saved(tmp_path / "chip.csv"))
    which = head[-1].split(",").index(column)
    for value in REFUSED[column]:
        bad = [list(row) for row in rows]
        bad[0][which] = value
        write_table(tmp_path / "bad.csv", head, bad)
        with pytest.raises(ValueError, match=rf"line \d+, columns? .*{column}"):
            load_recipe(tmp_path / "bad.csv")
    data = json.loads(saved(tmp_path / "chip.json").read_text())
    for value in (*REFUSED[column], True, 1.5, {}, [1]):
        if value == 1.5 and column.endswith("_S"):
            continue
        data["crossbars"][0]["cells"][0][which - 1] = value
        (tmp_path / "bad.json").write_text(json.dumps(data))
        with pytest.raises(ValueError, match=rf"cells\[\d+\], columns? .*{column}"):
            load_recipe(tmp_path / "bad.json")


def test_cells_twice_and_heads_that_cannot_be_are_refused(tmp_path):
    head, rows = table(saved(tmp_path / "chip.csv"))
    write_table(tmp_path / "bad.csv", head, [rows[1], *rows[1:]])
    with pytest.raises(ValueError, match=r"line 6, columns slice, row, column: name the same cell"):
        load_recipe(tmp_path / "bad.csv")
    write_table(tmp_path / "bad.csv", [*head[:-1], *head[-2:]], rows)
    with pytest.raises(ValueError, match=r"line 4, key layer: '' is also that of line 3"):
        load_recipe(tmp_path / "bad.csv")
    for key, value in (
        ("dtype", "int7"),
        ("dtype", "int32"),
        ("rounds", [-1]),
        ("tiling", {"groups": 3, "rows": 4, "cols": 6, "interleaved": False}),
        ("shape", [2, 10, -7]),
        ("sum", "0"),
        ("colour", "red"),
    ):
        data = json.loads(saved(tmp_path / "chip.json").read_text())
        data["crossbars"][0][key] = value
        (tmp_path / "bad.json").write_text(json.dumps(data))
        with pytest.raises(ValueError, match=rf"crossbars\[0\].*{key}"):
            load_recipe(tmp_path / "bad.json")


def test_a_layer_that_is_lost_or_renamed_is_missed(tmp_path):
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    report = mho.fabricate(mho.convert(model, mho.Hardware(device=COUNTED)), seed=3)
    save_recipe(report, tmp_path / "chip.json")
    text = (tmp_path / "chip.json").read_text()
    lost, renamed, none = json.loads(text), json.loads(text), json.loads(text)
    del lost["crossbars"][1]
    renamed["crossbars"][1]["layer"] = "2"
    none["crossbars"] = []
    for bad, match in ((lost, "key sum"), (renamed, "key sum"), (none, "no crossbars")):
        (tmp_path / "bad.json").write_text(json.dumps(bad))
        with pytest.raises(ValueError, match=match):
            load_recipe(tmp_path / "bad.json")
    with pytest.raises(ValueError, match="at least one crossbar"):
        save_recipe(Recipe({}), tmp_path / "chip.csv")


@pytest.mark.parametrize("name", ["volts", "counts"])
def test_files_written_before_are_read(name):
    # Of version 1: what its check sums are made of stays what it was.
    path = BEFORE / f"recipe_1_{name}.csv"
    sheet = load_recipe(path).sheets[""]
    _, rows = table(path)
    assert len(rows) == sheet.target.numel() == 12
    for row in rows:
        place = tuple(map(int, row[4:7]))
        assert float(sheet.target[place]) == float(torch.tensor(float(row[7])))
        assert int(sheet.pulses[place]) == int(row[9])
    trains = [train.split(":") for row in rows for train in row[11].split()]
    assert len(sheet.rounds) == max(int(train[0]) for train in trains)


def small(policy, path):
    hardware = mho.Hardware(device=POLICIES[policy][0], programming=POLICIES[policy][1])
    save_recipe(mho.Crossbar(3, 2, hardware, seed=4).program(WEIGHT[:3, :2]), path)
    return path.read_text()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    at = tmp_path_factory.mktemp("recipes")
    return at, {
        (name, ending): small(name, at / f"whole.{ending}")
        for name in ("statistical", "open loop", "verified volts", "product counts")
        for ending in ("csv", "json")
    }


def leaves(value, path=()):
    """All places of plain values in what JSON holds."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))
    yield path


ODD = ["", "0", "1", "-1", "2", "nan", "inf", "-0.0", "1e-7", "set", "stuck", "1:set:1.0:1e-7:1"]
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from(ODD)
)


def damaged(data, text, ending):
    """One field of a file changed: a value of its table, or of a head."""
    if ending == "json":
        whole = json.loads(text)
        *path, last = data.draw(st.sampled_from([p for p in leaves(whole) if p]))
        at = whole
        for key in path:
            at = at[key]
        at[last] = data.draw(PLAIN | st.lists(PLAIN, max_size=2))
        return json.dumps(whole)
    lines = text.splitlines()
    row = data.draw(st.integers(0, len(lines) - 1))
    fields = lines[row].split(",")
    which = data.draw(st.integers(0, len(fields) - 1))
    parts = fields[which].split(":") if data.draw(st.booleans()) else [fields[which]]
    parts[data.draw(st.integers(0, len(parts) - 1))] = str(data.draw(PLAIN))
    fields[which] = ":".join(parts)
    return "\n".join([*lines[:row], ",".join(fields), *lines[row + 1 :]])


@pytest.mark.parametrize("ending", ["csv", "json"])
@pytest.mark.parametrize("name", ["statistical", "open loop", "verified volts", "product counts"])
@given(data=st.data())
def test_a_damaged_field_is_refused_or_does_not_matter(files, name, ending, data):
    at, texts = files
    whole, bad = at / f"whole.{ending}", at / f"bad.{ending}"
    whole.write_text(texts[name, ending])
    bad.write_text(damaged(data, texts[name, ending], ending), newline="", encoding="utf-8")
    try:
        found = load_recipe(bad)
    except ValueError:
        return
    assert_equal(load_recipe(whole), found)


def test_pulses_of_the_other_sign_are_not_replayed():
    sheet = Recipe.of(crossbar(*POLICIES["verified volts"]).program(WEIGHT)).sheets[""]
    other = LinearIonDrift()
    assert other.set_polarity != VOLTS.set_polarity
    with pytest.raises(ValueError, match="cells must be set by negative voltages"):
        replay(other.fabricate(sheet.shape), sheet)


def test_pulses_that_run_out_are_counted_as_they_were_given():
    scheme = WriteVerify.for_device(VOLTS, access="1R", order="row", bias="V/3", amplitude=2.4)
    # Noisy reads judge cells anew: one that was within tolerance is not in the last read.
    scheme = scheme.replace(max_pulses=20, read_noise=0.02, on_failure="report", record=True)
    report = crossbar(VOLTS, scheme).program(WEIGHT)
    given = torch.zeros(report.target.numel(), dtype=torch.int64)
    for each in report.written.report.rounds_given:
        given[each.cells] += 1
    assert torch.equal(given, report.written.pulses.flatten())


def test_an_existing_file_stays_whole_where_writing_fails(tmp_path, monkeypatch):
    report = crossbar(SoftBoundsDevice(), OpenLoop()).program(WEIGHT)
    save_recipe(report, tmp_path / "chip.csv")
    before = (tmp_path / "chip.csv").read_bytes()
    monkeypatch.setattr("mho.programming.recipe_files._trains", lambda sheet: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_recipe(report, tmp_path / "chip.csv")
    assert (tmp_path / "chip.csv").read_bytes() == before
    assert os.listdir(tmp_path) == ["chip.csv"]
