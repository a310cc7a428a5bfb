"""Files of strangers: nothing in them runs, nothing leaves the folder, nothing explodes."""

import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.cli import given, saved
from mho.cli.study_file import load
from mho.compat import notebooks
from mho.compat.configs import from_aihwkit, from_crosssim, from_neurosim
from mho.core import files, memory
from mho.programming import load_recipe
from mho.runs import pool
from mho.study import Integers, Range, sweep
from mho_cli.app import main
from security import ESCAPES, MARK, Payload, pickled


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in an empty folder, in which no payload has left its mark at the end."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / MARK).exists(), "a payload has run"


def written(path, data):
    (path.write_bytes if isinstance(data, bytes) else path.write_text)(data)
    return path


# ── nothing runs ─────────────────────────────────────────────────────────────────────────────

TAGS = (
    "!!python/object/apply:os.mkdir [ran]",
    "!!python/object/new:os.mkdir [ran]",
    "!!python/name:os.mkdir ''",
    "!!python/module:os ''",
    "type: Hardware\ndevice: !!python/object/apply:os.mkdir [ran]",
    "!<tag:yaml.org,2002:python/object/apply:os.mkdir> [ran]",
)


def test_a_payload_runs_where_pickles_are_trusted(here):
    """The payload itself works: the tests below could fail."""
    torch.load(io.BytesIO(_saved(Payload())), weights_only=False)
    assert (here / MARK).exists()
    (here / MARK).rmdir()


def _saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.parametrize("text", TAGS)
@pytest.mark.parametrize("read", [files.read, mho.load_hardware, load])
def test_tags_of_yaml_make_nothing(here, text, read):
    with pytest.raises((ValueError, TypeError)):
        read(written(here / "a.yaml", text + "\n"))


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "__main__.Payload", "Spec"])
def test_a_type_is_a_spec_that_is_known_and_nothing_is_imported(here, name):
    path = written(here / "a.yaml", f"type: {name}\nargs: mkdir ran\n")
    with pytest.raises((ValueError, TypeError), match=r"unknown type|must be said by 'type'"):
        mho.devices.Device.from_dict(files.read(path))
    with pytest.raises((ValueError, TypeError)):
        files.load(path, mho.core.spec.Spec)


@pytest.mark.parametrize("ending", ["pt", "pth", "bin", "pkl"])
@pytest.mark.parametrize("value", [Payload(), {"w": Payload()}, {"model": {"w": Payload()}}])
def test_pickles_among_weights_are_refused(here, ending, value):
    path = written(here / f"a.{ending}", _saved(value))
    with pytest.raises(ValueError, match="--trust"):
        saved.model(str(path))


def test_a_bare_pickle_is_refused(here):
    with pytest.raises(ValueError, match=r"--trust|no file of torch.save"):
        saved.model(str(written(here / "a.pkl", pickled())))


def test_a_pickle_is_no_checkpoint(here):
    path = written(here / "run.pt", _saved({"model": Payload()}))
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="damaged"):
        mho.train.fit(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            (torch.rand(4, 2), torch.zeros(4).long()),
            nn.functional.cross_entropy,
            epochs=1,
            checkpoint=path,
        )


def test_arrays_of_objects_are_refused(here):
    np.savez(here / "a.npz", inputs=np.array([Payload()], dtype=object), labels=np.zeros(1))
    with pytest.raises(ValueError, match="pickle"):
        given.data(str(here / "a.npz"), nn.Linear(2, 2))


CODE = "__import__('os').mkdir('ran')"


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (from_aihwkit, f"InferenceRPUConfig(\n  forward={CODE})"),
        (from_aihwkit, f"InferenceRPUConfig(\n  forward=IOParameters(inp_res=({CODE})))"),
        (from_aihwkit, f"InferenceRPUConfig(\n  forward=[1 for _ in {CODE}])"),
        (from_crosssim, json.dumps({"xbar.device.Rmin": CODE})),
        (from_crosssim, json.dumps({"xbar.device.Rmin": {"py/reduce": ["os.mkdir", ["ran"]]}})),
        (from_neurosim, f"numRowSubArray = {CODE};"),
        (from_neurosim, "numRowSubArray = (lambda: " + CODE + ")();"),
    ],
)
def test_other_tools_files_are_text(here, read, text):
    with contextlib.suppress(TypeError, ValueError):  # what is refused has not run, either
        read(text)


MANY = "9" * 5000  # digits: more than Python makes a whole number of


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (from_aihwkit, "InferenceRPUConfig(forward=-'abc')", "no value of a printed"),
        (from_aihwkit, "InferenceRPUConfig(forward=-IOParameters())", "no value of a printed"),
        (from_aihwkit, "InferenceRPUConfig(forward={[1]: 2})", "no value of a printed"),
        (from_aihwkit, "InferenceRPUConfig(forward={**a})", "no value of a printed"),
        (from_aihwkit, f"InferenceRPUConfig(forward={MANY})", "print"),
        (from_crosssim, f'{{"xbar.device.Rmin": {MANY}}}', "is not JSON"),
        (from_neurosim, f"numRowSubArray = {MANY};", "numRowSubArray must be a whole number"),
        (from_neurosim, f"--ADCprecision {MANY}", "ADCprecision"),
    ],
)
def test_odd_values_of_other_tools_are_named(read, text, said):
    with pytest.raises((TypeError, ValueError), match=said):
        read(text)


def test_a_number_of_many_digits_is_no_study(here):
    with pytest.raises(ValueError, match=r"study\.json is no study"):
        mho.study.Outcome.load(written(here / "study.json", MANY))
    with pytest.raises(ValueError, match=r"a\.ipynb is not a Jupyter"):
        list(notebooks.blocks_of("a.ipynb", "[" * 100_000))


GROWING = "".join(f"a{k + 1} = a{k}*a{k};" for k in range(60)).replace("a0*a0", "99999*99999")


@pytest.mark.parametrize(
    "text",
    [
        GROWING,  # squares of squares
        "/* " * 100_000,  # comments without an end
        "switch (x) {}",
        "switch (x) " * 20_000 + ";",
        "if (x) {" * 20_000,
        "x = " + "9*" * 20_000 + "9;",
        "x = " + "(" * 20_000 + ";",
    ],
)
def test_sums_and_comments_of_another_tool_have_an_end(text):
    with contextlib.suppress(ValueError):
        assert "16" in str(from_neurosim("numRowSubArray = 16;\n" + text))


EXPRESSIONS = ("__import__('os').mkdir('ran')", "@__import__('os').mkdir('ran')", "{0.__class__}")


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_names_of_columns_are_texts(here, text):
    quoted = '"' + text + '"'
    rows = "\n".join(f"{v},{v * 1e-4},{k}" for k, v in enumerate(np.linspace(-1, 1, 20)))
    path = written(here / "a.csv", f"V (V),I (A),{quoted}\n{rows}\n")
    assert mho.fit.read(path, kind="iv").kind == "iv"
    with pytest.raises(ValueError):
        mho.fit.read(path, kind="iv", columns={"V (V)": text})


@pytest.mark.parametrize("text", [*EXPRESSIONS, "adc.__class__.__init__.__globals__", "__dict__"])
def test_paths_of_a_space_are_fields_alone(text):
    with pytest.raises(ValueError, match="no field"):
        sweep({text: [1, 2]}, lambda h, s, t: 1.0, workers=0)


def test_stored_studies_are_values(here):
    for text in ("cos\nmkdir\n(S'ran'\ntR.", '{"py/object": "os.mkdir"}', "[" * 100_000):
        with pytest.raises(ValueError, match="no study"):
            mho.study.Outcome.load(written(here / "study.json", text))
        for name in ("s.journal", "s.db"):
            (here / name).unlink(missing_ok=True)
            store = written(here / name, text)
            with pytest.raises((ValueError, OSError)):
                sweep({"x": [1]}, lambda h, s, t: 1.0, free=["x"], store=store, workers=0)
            assert (here / name).read_text() == text  # it is left as it is


def test_recipes_are_values(here):
    for name in ("r.csv", "r.json"):
        for text in (CODE, "[" * 100_000, "#" * 100_000, pickled().decode("latin-1")):
            with pytest.raises(ValueError):
                load_recipe(written(here / name, text))


def test_a_named_function_takes_no_arguments_and_is_found_where_it_says(here):
    (here / "theirs.py").write_text("def make(folder):\n    raise AssertionError\n")
    with pytest.raises(TypeError):
        given.called("theirs:make")
    for text in ("os:mkdir('ran')", "os.mkdir('ran'):x", "../theirs:make", "theirs.py:make"):
        with pytest.raises((ImportError, ValueError)):
            given.called(text)


# ── nothing is written elsewhere ─────────────────────────────────────────────────────────────

ELSEWHERE = (
    "../elsewhere", "/tmp/elsewhere", "a/../../elsewhere", "link/elsewhere", "~/elsewhere",
)  # fmt: skip


@pytest.mark.parametrize("key", ["out", "store", "name"])
@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_study_writes_beside_its_file(here, key, path):
    folder = here / "theirs"
    folder.mkdir()
    (folder / "link").symlink_to(here)
    text = f"{key}: {path}\nspace: {{array.rows: [4]}}\n"
    asked = load(str(written(folder / "s.yaml", text)))
    where = asked.store_of if key == "store" else asked.out_of
    with pytest.raises(ValueError, match=rf"{key} '.*elsewhere' must lie in the folder.*--trust"):
        where(folder if key == "store" else None)
    trusted = load(str(folder / "s.yaml"), trust=True)
    assert "elsewhere" in str((trusted.store_of if key == "store" else trusted.out_of)(None))
    assert asked.out_of(here / "mine") == here / "mine"


def test_a_study_is_refused_before_a_folder_is_made(here, capsys):
    (here / "theirs").mkdir()
    written(here / "theirs" / "s.yaml", "name: ../elsewhere\nspace: {array.rows: [4]}\n")
    assert main(["study", "theirs/s.yaml"]) == 1
    assert "must lie in the folder" in capsys.readouterr().err
    assert not (here / "elsewhere").exists()


def test_a_study_cannot_trust_itself(here):
    for key in ("trusted", "folder", "trust"):
        with pytest.raises(ValueError, match="no key"):
            load(str(written(here / "s.yaml", f"{key}: true\nspace: {{array.rows: [4]}}\n")))


def test_members_of_an_archive_are_never_unpacked_to_disk(here):
    folder = here / "inner"
    folder.mkdir()
    for name in ("a.xlsx", "a.npz", "a.pt"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("../escaped", b"x")
            archive.writestr("/tmp/mho_escaped", b"x")
        for read in (mho.fit.read, lambda p: saved.model(str(p)), mho.load_hardware):
            with pytest.raises(ValueError):
                read(folder / name)
    assert not (here / "escaped").exists()


# ── nothing explodes ─────────────────────────────────────────────────────────────────────────


def test_a_population_for_which_there_is_no_memory_is_refused_with_its_bytes():
    for make in (
        lambda: mho.chip.Chip(10**12, 10**12),
        lambda: mho.chip.Chip(10**12, 4),
        lambda: mho.crossbar.Crossbar(10**12, 4, mho.Hardware()),
        lambda: mho.devices.LinearDevice(1e-6, 1e-4).fabricate((10**12,)),
    ):
        with pytest.raises(MemoryError, match=r"cells needs \S+ TB on cpu, and .* are available"):
            make()


def test_the_check_of_memory_can_be_left_out(monkeypatch):
    monkeypatch.setattr(memory, "CHECKED_FROM", 0)
    monkeypatch.setattr(memory, "available", lambda device: None if str(device) == "meta" else 100)
    with pytest.raises(MemoryError):
        mho.chip.Chip(8, 8)
    with memory.unchecked():
        assert mho.chip.Chip(8, 8).rows == 8
    with pytest.raises(MemoryError):
        mho.chip.Chip(8, 8)
    assert mho.chip.Chip(8, 8, device="meta").rows == 8


def test_tiles_take_memory_for_the_lines_in_use():
    hardware = mho.Hardware(array=mho.Array(rows=10**12, cols=10**12), adc=mho.ADC(bits=4))
    assert mho.convert(nn.Linear(4, 3), hardware)(torch.rand(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: mho.encoding.BitSliced(bits=10**12),
        lambda: mho.encoding.Redundant(mho.encoding.Differential(), copies=10**12),
        lambda: mho.encoding.LEA(mho.encoding.Differential(), copies=10**12, best=2),
        lambda: mho.effects.TelegraphNoise(0.1, traps=10**12),
        lambda: mho.ADC(bits=10**12),
        lambda: mho.DAC(bits=10**12),
        lambda: mho.devices.ExponentialDevice(1e-6, 1e-4, 1.0, 1.0, levels=10**12),
    ],
)
def test_counts_are_bounded(make):
    with pytest.raises(ValueError, match="<="):
        make()


@pytest.mark.parametrize(
    "settings",
    [
        {"space": {"x": [1]}, "chips": 10**12},
        {"space": {"x": Integers(1, 10**12)}},
        {"space": {f"x{k}": list(range(10)) for k in range(12)}},
        {"space": {"x": Range(0.1, 1.0)}, "sampler": "random", "trials": 10**12},
        {"space": {"x": Range(0.1, 1.0)}, "sampler": "tpe", "trials": 10**12},
        {"space": {"x": Range(0.1, 1.0)}, "sampler": "sobol", "trials": 3 * 2**40},
    ],
)
def test_studies_are_bounded(settings):
    with pytest.raises(ValueError, match=r"10,000,000|1e\+07|takes 10000 values"):
        sweep(evaluate=lambda h, s, t: 1.0, free=list(settings["space"]), workers=0, **settings)


def test_workers_are_as_many_as_there_is_memory_for():
    with pytest.raises(MemoryError, match="worker processes needs"):
        sweep({"x": [1]}, lambda h, s, t: 1.0, free=["x"], workers=10**9)


@pytest.mark.parametrize(("room", "workers"), [(10**12, 64), (1_000_000_000, 6), (1, 1)])
def test_workers_that_nobody_asked_for_are_fewer_where_memory_is_short(monkeypatch, room, workers):
    monkeypatch.setattr(pool, "cores", lambda: 64)
    monkeypatch.setattr(memory, "available", lambda device: room)
    assert pool.pool_of(None, None).width == workers


def test_files_that_a_container_has_read_are_no_memory_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    monkeypatch.setattr(memory, "_of_system", lambda: 10**15)
    written(tmp_path / "memory.max", "8000\n")
    written(tmp_path / "memory.current", "7000\n")
    stat = "anon 1500\nfile 5500\nshmem 500\ninactive_file 4000\nactive_file 1000\n"
    written(tmp_path / "memory.stat", stat)
    assert memory.available("cpu") == 8000 - 7000 + 4000 + 1000
    written(tmp_path / "memory.max", "max\n")
    assert memory.available("cpu") == 10**15


@pytest.mark.parametrize("key", ["chips", "trials", "verify"])
def test_a_study_is_bounded_before_its_network_is_trained(here, key):
    with pytest.raises(ValueError, match=key):
        load(str(written(here / "s.yaml", f"{key}: 1000000000000\nspace: {{array.rows: [4]}}\n")))


def _laughs(levels):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]" for k in range(levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_laughs(9), "more than 1000000 values"),
        ("&a [*a]", "inside what it stands for"),
        ("&a {b: *a}", "inside what it stands for"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
        ("x: " + "a" * (1 << 24), "holds more than 16.8 MB"),
        ('"\\e[31m": 1', "control characters"),
        ('x: "\\u009b31m"', "control characters"),
    ],
)
def test_yaml_is_bounded(here, text, said):
    with pytest.raises(ValueError, match=said):
        files.read(written(here / "a.yaml", text))


@pytest.mark.parametrize(
    "read", [files.read, mho.load_hardware, load, mho.fit.read, from_neurosim, from_crosssim]
)
def test_a_file_without_an_end_is_refused(monkeypatch, read):
    monkeypatch.setattr(files, "MOST", 1000)
    monkeypatch.setattr(files.content, "__defaults__", (1000,))
    monkeypatch.setattr(files.text, "__defaults__", (1000, "strict"))
    with pytest.raises(ValueError, match=r"/dev/zero holds more than"):
        read("/dev/zero" if read is not from_neurosim else __import__("pathlib").Path("/dev/zero"))


def test_a_text_for_which_there_is_no_memory_is_refused(here, monkeypatch):
    monkeypatch.setattr(memory, "CHECKED_FROM", 0)
    monkeypatch.setattr(memory, "available", lambda device: 1_000_000)
    path = written(here / "a.csv", "V (V),I (A)\n" + "1,2\n" * 10_000)
    with pytest.raises(MemoryError, match="read as a table, needs 4 MB"):
        mho.fit.read(path)


def test_a_small_workbook_that_unpacks_to_much_is_refused(here, monkeypatch):
    spreadsheet = mho.fit.reading.spreadsheet
    monkeypatch.setattr(spreadsheet, "_MOST_UNPACKED", 10_000_000)
    with zipfile.ZipFile(here / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"\0" * 10_000_001)
    with pytest.raises(ValueError, match="when unpacked"):
        mho.fit.read(here / "a.xlsx")


def test_a_cell_far_out_is_refused(here):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "V (V)", 1.0
    book.save(here / "a.xlsx")
    with pytest.raises(MemoryError, match=r"1,048,576 × 16,384 cells"):
        mho.fit.read(here / "a.xlsx")


def test_a_small_parquet_file_of_many_rows_is_refused(here, monkeypatch):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    many = pyarrow.table({name: pyarrow.array(np.zeros(2_000_000)) for name in ("V (V)", "I (A)")})
    parquet.write_table(many, here / "a.parquet")
    assert (here / "a.parquet").stat().st_size < 100_000
    monkeypatch.setattr(memory, "available", lambda device: 500_000_000)
    with pytest.raises(MemoryError, match="2,000,000 × 2 cells"):
        mho.fit.read(here / "a.parquet")


def test_shapes_are_compared_before_anything_is_copied(here):
    analog = mho.convert(nn.Linear(4, 3), mho.Hardware())
    state = analog.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    name = next(n for n, v in state.items() if v.dim() == 3)
    with pytest.raises(ValueError, match="expected shape"):
        analog.load_state_dict({**state, name: torch.zeros(1).expand(10**6, 10**6, 10)})
    assert all(v.equal(before[n]) or v.isnan().all() for n, v in analog.state_dict().items())


@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff", b"9" * 10_000, b'{"hardware":' * 5000])
def test_plain_values_of_a_checkpoint_are_read_or_refused(data):
    analog = mho.convert(nn.Linear(4, 3), mho.Hardware())
    state = analog.state_dict()
    extra = next(name for name in state if name.endswith("_extra_state"))
    state[extra] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    with pytest.raises(ValueError, match="checkpoint"):
        analog.load_state_dict(state)


def test_headers_that_claim_much_are_refused(here):
    head = io.BytesIO()
    claim = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 4)}
    np.lib.format.write_array_header_1_0(head, claim)
    with zipfile.ZipFile(here / "a.npz", "w") as archive:
        archive.writestr("inputs.npy", head.getvalue())
        archive.writestr("labels.npy", head.getvalue())
    with pytest.raises((MemoryError, ValueError)):
        given.data(str(here / "a.npz"), nn.Linear(4, 2))


# ── no name is a command ─────────────────────────────────────────────────────────────────────


def shown(capsys):
    out, err = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e") & set(out + err), "a terminal would obey"
    return out + err


def test_terminals_obey_no_name_in_a_file(here, capsys):
    settings = {"xbar.device.Rmin": 1e4, f"core.{ESCAPES}": ESCAPES}
    written(here / "c.json", json.dumps(settings))
    main(["convert-config", "c.json", "--from", "crosssim"])
    assert "core." in shown(capsys)
    for text in (f"V{ESCAPES},I\n1,2\n", "V (V),I (A)\u202e\n1,2\n"):
        written(here / "a.csv", text)
        assert main(["fit", "a.csv"]) == 1
        assert shown(capsys)
    written(here / f"{ESCAPES}.yaml".replace("/", ""), "a: b\n")
    assert main(["card", f"{ESCAPES}.yaml"]) == 1
    assert "owned" in shown(capsys)
