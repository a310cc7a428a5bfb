"""Instruments' files are read rightly or refused clearly: a corpus, and files made at random."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mho import fit
from mho.fit.reading import names, numbers, sweeps, units

sys.path.insert(0, str(Path(__file__).parent))
import corpus

FEW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read(path, data, **reading):
    path = path / "data.csv"
    path.write_bytes(data)
    return fit.read(path, **reading)


def test_the_corpus_is_large():
    assert len(corpus.CASES) >= 120
    assert len({case.name for case in corpus.CASES}) == len(corpus.CASES)
    assert sum(bool(case.refused) for case in corpus.CASES) >= 50


@pytest.mark.parametrize("case", corpus.CASES, ids=lambda case: case.name)
def test_corpus(case, tmp_path):
    if case.refused:
        with pytest.raises(ValueError, match=case.refused):
            read(tmp_path, case.data, **case.reading)
        return
    found = read(tmp_path, case.data, **case.reading)
    assert found.kind == case.kind
    for name, wanted in case.arrays.items():
        np.testing.assert_allclose(found.arrays[name], wanted, rtol=2e-6, atol=1e-13, err_msg=name)
    assert len(found.said) == 3
    assert not any("\n" in line for line in found.said)
    assert re.search(case.said, str(found)), str(found)


# ---- any table, any form -------------------------------------------------------------------------

PREFIXES = {"": 1.0, "m": 1e-3, "µ": 1e-6, "u": 1e-6, "n": 1e-9, "p": 1e-12}
FORMS = st.fixed_dictionaries(
    {
        "separator": st.sampled_from([",", ";", "\t", "|", " ", "   ", " ; "]),
        "decimal": st.sampled_from([".", ","]),
        "end": st.sampled_from(["\n", "\r\n", "\r"]),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le"]),
        "unit": st.sampled_from(list(PREFIXES)),
        "bracket": st.sampled_from(["{} ({})", "{} [{}]", "{}/{}", "{}({})"]),
        "number": st.sampled_from(["{:.9g}", "{:+.8e}", "{:.8E}", "{:.12g}"]),
        "above": st.sampled_from(["", "# by hand\n", "Operator: A. B.\n\n", "Date;1.4.2026\n"]),
        "missing": st.sampled_from(["NaN", "--", "9.9E37", "#N/A", "OVLD"]),
        "seed": st.integers(0, 2**32 - 1),
        "holes": st.integers(0, 3),
    }
)


@given(FORMS)
@FEW
def test_a_table_in_any_form_is_the_same_table(tmp_path, form):
    rng = np.random.default_rng(form["seed"])
    v = np.round(np.sort(rng.uniform(0.01, 1.0, 12)), 6)
    i = v * rng.uniform(1e-6, 1e-4, 12)
    gone = rng.choice(12, form["holes"], replace=False)

    def written(value):
        return form["number"].format(value).replace(".", form["decimal"])

    if form["decimal"] == "," and form["separator"].strip() == ",":
        return  # no such file: it could not be read back by anyone
    factor = PREFIXES[form["unit"]]
    header = [form["bracket"].format(name, form["unit"] * k + base)
              for k, name, base in ((0, "Voltage", "V"), (1, "Current", "A"))]  # fmt: skip
    rows = [[written(v[k]), form["missing"] if k in gone else written(i[k] / factor)]
            for k in range(12)]  # fmt: skip
    body = "\n".join(form["separator"].join(row) for row in [header, *rows])
    data = (form["above"] + body + "\n").replace("\n", form["end"]).encode(form["encoding"])
    found = read(tmp_path, data)
    keep = np.setdiff1d(np.arange(12), gone)
    np.testing.assert_allclose(found.arrays["voltage"], v[keep], rtol=1e-7)
    np.testing.assert_allclose(found.arrays["current"], i[keep], rtol=1e-7)
    assert ("without a value" in found.said[2]) == bool(form["holes"])


GOOD = [case for case in corpus.CASES if not case.refused]


@given(
    st.sampled_from(GOOD),
    st.lists(
        st.tuples(
            st.floats(0, 1), st.sampled_from(["cut", "drop", "insert", "double", "swap"]),
            st.binary(min_size=1, max_size=3),
        ),
        min_size=1, max_size=4,
    ),
)  # fmt: skip
@settings(FEW, max_examples=400)
def test_a_damaged_file_is_read_or_refused_and_never_crashes(tmp_path, case, damages):
    data = case.data
    for place, how, piece in damages:
        k = int(place * len(data))
        if how == "cut":
            data = data[: max(k, 1)]
        elif how == "drop":
            data = data[:k] + data[k + 1 :]
        elif how == "insert":
            data = data[:k] + piece + data[k:]
        elif how == "double":
            data = data[:k] + data[k : k + 40] + data[k:]
        else:
            data = data[:k] + data[k + 20 : k + 40] + data[k : k + 20] + data[k + 40 :]
    try:
        found = read(tmp_path, data, **case.reading)
    except ValueError as refused:
        error = str(refused)
    else:
        error = ""
    if error:
        assert "data.csv" in error
        return
    for array in found.arrays.values():
        assert np.isfinite(array).all()
        assert array.size


@given(st.binary(max_size=300))
@FEW
def test_any_bytes_are_read_or_refused(tmp_path, data):
    with pytest.raises(ValueError, match=r"data\.csv"):
        read(tmp_path, data)


@given(st.sampled_from(GOOD), st.randoms(use_true_random=False))
@settings(FEW, max_examples=100)
def test_a_lost_line_is_never_a_shifted_cycle(tmp_path, case, random):
    # One row less: pulse trains lose a cycle or are refused; what is read was measured.
    if case.kind != "pulses" or b"\n" not in case.data or "utf-16" in case.name:
        return
    lines = case.data.split(b"\n")
    del lines[random.randrange(2, len(lines) - 1)]
    try:
        found = read(tmp_path, b"\n".join(lines), **case.reading)
    except ValueError:
        return
    for name in ("set", "reset"):
        curves = case.arrays[name].reshape(-1, case.arrays[name].shape[-1])
        for curve in found.arrays[name].reshape(-1, found.arrays[name].shape[-1]):
            part = [np.abs(c[: len(curve)] - curve).max() for c in curves]
            tail = [np.abs(c[-len(curve) :] - curve).max() for c in curves]
            assert min(*part, *tail) < 1e-10


# ---- several files, workbooks --------------------------------------------------------------------


def test_files_are_joined_in_the_order_given(tmp_path):
    rows = corpus.pulse_rows()
    paths = []
    for cycle in range(corpus.CYCLES):
        path = tmp_path / f"cycle{cycle}.csv"
        columns = corpus.column([r for r in rows if r[1] == cycle + 1], 2, 3)
        path.write_text(corpus.text("pulse,G (µS)", *columns))
        paths.append(path)
    found = fit.read(paths)
    np.testing.assert_allclose(found.arrays["set"], corpus.SET[:1], rtol=1e-6)
    assert "3 files joined in this order: cycle0.csv, cycle1.csv, cycle2.csv" in found.said[0]
    assert "files are taken as cycles of one cell" in found.said[2]
    cells = fit.read(paths, each_file="cell")
    np.testing.assert_allclose(cells.arrays["set"], found.arrays["set"].swapaxes(0, 1))
    assert cells.cells == ("cycle0", "cycle1", "cycle2")
    turned = fit.read([paths[2], paths[0]])
    np.testing.assert_allclose(turned.arrays["set"], corpus.SET[:1, [2, 0]], rtol=1e-6)


def test_one_file_a_half(tmp_path):
    paths = []
    for name, half in (("set", corpus.SET), ("reset", corpus.RESET)):
        path = tmp_path / f"{name}.csv"
        g = half[0, 0] * 1e6
        path.write_text(corpus.text("pulse,G (µS)", range(len(g)), g))
        paths.append(path)
    found = fit.read(paths)
    np.testing.assert_allclose(found.arrays["set"][0, 0], corpus.SET[0, 0], rtol=1e-6)
    np.testing.assert_allclose(found.arrays["reset"][0, 0], corpus.RESET[0, 0], rtol=1e-6)


def test_files_of_two_measurements_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("V,I\n0.1,1e-6\n0.2,2e-6\n")
    (tmp_path / "b.csv").write_text("time,G (µS)\n1,10\n2,10\n")
    with pytest.raises(ValueError, match=r"are not of one measurement|no column"):
        fit.read([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_a_file_for_every_cell_of_a_record(tmp_path):
    paths = [tmp_path / f"{k}.csv" for k in range(3)]
    for path, g in zip(paths, corpus.G, strict=True):
        path.write_text(corpus.text("time,G (µS)", corpus.TIME, g * 1e6))
    found = fit.read(paths)
    np.testing.assert_array_equal(found.arrays["cell"], corpus.LONG["cell"])
    assert "every file is taken as one cell" in found.said[2]


def test_files_that_may_be_two_things_are_asked_about(tmp_path):
    one, other = tmp_path / "1.csv", tmp_path / "2.csv"
    for path, times in ((one, corpus.TIME), (other, corpus.TIME + 2000)):
        path.write_text(corpus.text("time,G (µS)", times, corpus.G[0] * 1e6))
    with pytest.raises(ValueError, match=r"--each-file cell or --each-file part"):
        fit.read([one, other])
    assert "cell" not in fit.read([one, other], each_file="part").arrays
    assert fit.read([one, other], each_file="cell").cells == ("1", "2")
    v = np.linspace(-0.5, 0.5, 21)
    for path, g in ((one, 1e-5), (other, 1e-6)):
        path.write_text(corpus.text("V,I", v, g * v))
    with pytest.raises(ValueError, match=r"2.csv, line 2.*--each-file cycle or --each-file state"):
        fit.read([one, other])
    found = fit.read([one, other], each_file="state")
    np.testing.assert_array_equal(np.bincount(found.arrays["state"].astype(int)), [21, 21])
    rows = corpus.pulse_rows()
    for path in (one, other):
        path.write_text(corpus.text("pulse,G (µS)", *corpus.column(rows, 2, 3)))
    with pytest.raises(ValueError, match=r"--each-file cell or --each-file part"):
        fit.read([one, other])
    assert fit.read([one, other], each_file="cell").arrays["set"].shape[:2] == (2, 3)
    with pytest.raises(ValueError, match=r"may be a cell or cycle or part, not a state"):
        fit.read([one, other], each_file="state")
    with pytest.raises(ValueError, match=r"there is one file"):
        fit.read(one, each_file="cell")


def test_two_maps_are_two_states(tmp_path):
    x = [str(k) for k in range(corpus.NX)]
    for name, ohms in (("a", corpus.HRS), ("b", corpus.LRS)):
        columns = [list(range(corpus.NY)), *(ohms.T / 1e3)]
        grid = corpus.text(["R (kOhm)", *x], *columns, digits=12)
        (tmp_path / f"{name}.csv").write_text(grid)
    found = fit.read([tmp_path / "a.csv", tmp_path / "b.csv"])
    np.testing.assert_allclose(found.arrays["lrs"], corpus.MAP["lrs"])
    np.testing.assert_allclose(found.arrays["hrs"], corpus.MAP["hrs"])
    assert "b is taken as the LRS" in found.said[2]


def test_workbooks(tmp_path):
    pytest.importorskip("openpyxl")
    table = [
        ["Voltage (V)", "Current (µA)"],
        *map(list, zip(corpus.V, corpus.I * 1e6, strict=True)),
    ]
    table = [[float(c) if not isinstance(c, str) else c for c in row] for row in table]
    notes = [["Operator", "A. B."], ["Date", "1.4.2026"]]
    data = corpus.workbook({"Notes": notes, "Data": [["Sweep 7"], [], *table]})
    found = read(tmp_path, data)
    np.testing.assert_allclose(found.arrays["current"], corpus.I, rtol=1e-12)
    assert "sheet 'Data'" in found.said[0]
    settings = [["Name", "AV", "AI"], ["Start", 0, 0], ["Stop", 1, 2], ["Step", 0.1, 0]]
    found = read(tmp_path, corpus.workbook({"Data": table, "Calc": [[0, 0]], "Settings": settings}))
    assert "sheet 'Data', not 'Calc', 'Settings'" in found.said[0]
    twice = corpus.workbook({"Run1": table, "Run2": table})
    with pytest.raises(
        ValueError, match=r"tables on the sheets 'Run1', 'Run2': choose with --sheet"
    ):
        read(tmp_path, twice)
    assert "sheet 'Run2'" in read(tmp_path, twice, sheet="Run2").said[0]
    with pytest.raises(ValueError, match=r"no sheet 'Run3'; there are 'Run1', 'Run2'"):
        read(tmp_path, twice, sheet="Run3")
    table[5][1] = "#DIV/0!"
    assert "1 row without a value (line 6)" in read(tmp_path, corpus.workbook({"a": table})).said[2]
    table[6][1] = "wrong"
    with pytest.raises(ValueError, match=r"line 7, column 'Current \(µA\)': 'wrong' is no number"):
        read(tmp_path, corpus.workbook({"a": table}))


def test_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"V": corpus.V, "I (µA)": corpus.I * 1e6})
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    found = read(tmp_path, buffer.getvalue())
    np.testing.assert_allclose(found.arrays["current"], corpus.I, rtol=1e-12)


# ---- what is understood --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "base", "factor"),
    [
        ("nA", "A", 1e-9), ("µS", "S", 1e-6), ("μS", "S", 1e-6), ("uS", "S", 1e-6),
        ("kΩ", "Ω", 1e3), ("k\u2126", "Ω", 1e3), ("kOhm", "Ω", 1e3), ("MOhm", "Ω", 1e6),
        ("mS", "S", 1e-3), ("1/Ohm", "S", 1.0), ("1/kΩ", "S", 1e-3), ("Ω^-1", "S", 1.0),
        ("Ω⁻¹", "S", 1.0), ("mho", "S", 1.0), ("nA/V", "S", 1e-9), ("mV/µA", "Ω", 1e3),
        ("10^-6 S", "S", 1e-6), ("x10⁻⁹ A", "A", 1e-9), ("1e-6 S", "S", 1e-6), ("min", "s", 60.0),
        ("h", "s", 3600.0), ("days", "s", 86400.0), ("G0", "S", 7.748091729e-5),
    ],
)  # fmt: skip
def test_units(text, base, factor):
    found = units.unit(text)
    assert found is not None
    assert found[0] == base
    assert found[1] == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize(
    "text", ["", "kg", "a.u.", "%", "A/cm2", "S/m", "V/V", "10^99 S", "dB", "x"]
)
def test_what_is_no_unit(text):
    assert units.unit(text) is None


@pytest.mark.parametrize(
    ("cell", "mark", "value"),
    [
        ("1.5", ".", 1.5), ("1,5", ",", 1.5), (".5", ".", 0.5), ("5.", ".", 5.0),
        ("1,234.5", ".", 1234.5), ("1.234,5", ",", 1234.5), ("1'234.5", ".", 1234.5),
        ("1 234,5", ",", 1234.5), ("-1e-6", ".", -1e-6), ("+1.0D-03", ".", 1e-3),
    ],
)  # fmt: skip
def test_numbers(cell, mark, value):
    assert numbers.number(cell, mark) == value


@pytest.mark.parametrize(
    "cell", ["1,5", "0,123", "1,2345", "1.2.3", "1e", "0x10", "1_000", "١", "1-2"]
)
def test_what_is_no_number(cell):
    assert numbers.number(cell, ".") is None


@pytest.mark.parametrize("cell", ["", "NaN", "--", "OVLD", "9.91E37", "-9.9e37", "#DIV/0!", "inf"])
def test_what_is_missing(cell):
    assert np.isnan(numbers.number(cell, "."))


@given(st.text(max_size=40))
@example("(()")
@example("G (")
@FEW
def test_any_name_has_a_meaning_or_none(text):
    names.meaning(text)


def test_cycles_of_a_sweep():
    loop = np.concatenate([np.linspace(0, 1, 20), np.linspace(1, -1, 40), np.linspace(-1, 0, 20)])
    assert (sweeps.cycles_of(loop) == 0).all()
    assert np.bincount(sweeps.cycles_of(np.tile(loop, 3)).astype(int)).tolist() == [80, 80, 80]
    way = np.concatenate([np.linspace(-1, 1, 30), np.linspace(1, -1, 30)])
    assert len(np.unique(sweeps.cycles_of(np.tile(way, 4)))) == 4
    assert (sweeps.cycles_of(np.linspace(-1, 1, 30)) == 0).all()


@pytest.mark.parametrize(("unit", "factor"), [(" (mV)", 1e-3), ("/mV", 1e-3), ("", 1.0)])
def test_a_column_that_is_told_keeps_the_unit_of_its_header(tmp_path, unit, factor):
    volts = np.linspace(-9.0, 9.0, 40)
    lines = [f"Foo{unit};Current (uA)", *(f"{v:.6f};{2 * v:.6f}" for v in volts)]
    found = read(tmp_path, "\n".join(lines).encode(), columns={"Foo": "voltage"})
    np.testing.assert_allclose(found.arrays["voltage"], factor * volts, atol=1e-6 * factor)
    np.testing.assert_allclose(found.arrays["current"], 2e-6 * volts, atol=1e-12)
    told = read(tmp_path, "\n".join(lines).encode(), columns={"Foo": "voltage (V)"})
    np.testing.assert_allclose(told.arrays["voltage"], volts, atol=1e-6)


def test_what_is_asked_for_is_checked(tmp_path):
    data = corpus.CASES[0].data
    for wish, pattern in [
        ({"kind": "foo"}, "kind must be one of"),
        ({"read_voltage": 0.0}, "read_voltage must not be 0"),
        ({"decimal": "·"}, "decimal must be one of"),
        ({"separator": "x"}, "separator must be one of"),
        ({"cycles": 0}, "cycles must be"),
        ({"units": {"I": "kg"}}, "unit of 'I': 'kg' is none of"),
        ({"units": {"foo": "A"}}, "--unit names 'foo', but the columns are 'voltage', 'current'"),
        ({"columns": {"foo": "voltage"}}, "--column names 'foo'"),
        ({"columns": {"voltage": "foo"}}, "'foo' is no meaning"),
        ({"kind": "retention"}, "no column 'time'; retention needs"),
        ({"sheet": "a"}, "is no workbook"),
        ({"cell": "a"}, "no cell 'a'; there are none"),
        ({"read_voltage": 0.1}, "no current is read at a voltage"),
        ({"cycles": 3}, "cycles are counted in pulses"),
    ]:
        with pytest.raises(ValueError, match=pattern):
            read(tmp_path, data, **wish)
    with pytest.raises(ValueError, match="at least one file"):
        fit.read([])
    with pytest.raises(FileNotFoundError):
        fit.read(tmp_path / "none.csv")


@pytest.mark.parametrize("gives", [
    iter, list, tuple, np.array, lambda paths: dict.fromkeys(paths).keys(),
    lambda paths: sorted(Path(paths[0]).parent.glob("*.csv")), lambda paths: map(Path, paths),
])  # fmt: skip
def test_files_may_be_given_by_whatever_gives_names(tmp_path, gives):
    paths = []
    for k in range(2):
        paths.append(str(tmp_path / f"{k}.csv"))
        Path(paths[k]).write_text(f"time,G\n{k + 1},1e-6\n{k + 2},2e-6\n")
    options = {"each_file": "cell"}
    wanted = fit.read(paths, **options)
    found = fit.read(gives(paths), **options)
    assert found.paths == wanted.paths
    assert str(found) == str(wanted)


@pytest.mark.parametrize("wrong", [
    {"a.csv"}, frozenset({"a.csv"}), b"a.csv", {"a.csv": 1}, io.StringIO("time,G\n"), 3, None,
])  # fmt: skip
def test_what_gives_no_names_in_order_is_refused(wrong):
    with pytest.raises(TypeError, match="path must be one, or a list of some, got"):
        fit.read(wrong)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"units": {"G": 5}}, "name and text of units must be str, got 5"),
        ({"columns": {"G": 5}}, "name and text of columns must be str, got 5"),
        ({"columns": {1: "time"}}, "name and text of columns must be str, got 1"),
        ({"units": ["G"]}, "units must be Mapping"),
        ({"cell": 3}, "cell must be str"),
    ],
)
def test_what_is_said_of_columns_is_text(tmp_path, given, words):
    (tmp_path / "r.csv").write_text("time,G\n1,1e-6\n2,1e-6\n")
    with pytest.raises(TypeError, match=words):
        fit.read(tmp_path / "r.csv", **given)
