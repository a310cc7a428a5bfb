"""Every file is written aside and moved: found by reading the code, and by failing on purpose."""

import ast
import contextlib
import errno
import functools
import io
import multiprocessing
import os
import re
import resource
import stat
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import made_studies
import mho
from mho.compat import notebooks
from mho.core import files
from mho.plot import page
from mho_cli.app import main

FORK = multiprocessing.get_context("fork")
SOURCE = Path(mho.__file__).parents[1]
WRITERS = {
    *("write_text", "write_bytes", "savefig", "imsave", "savetxt", "savez", "tofile"),
    *("savez_compressed", "to_csv", "to_parquet", "to_excel", "to_json", "to_html", "to_pickle"),
    *("to_hdf", "to_feather", "to_netcdf", "output_file", "save_file", "touch", "copyfile"),
    *("symlink_to", "hardlink_to", "mkstemp", "NamedTemporaryFile", "memmap", "open_memmap"),
    *("extractall", "urlretrieve"),
}
MODULES = {"torch", "np", "numpy", "json", "yaml", "pickle", "plt", "onnx", "bokeh", "shutil", "os"}
SAVES = {"save", "dump", "export", "move", "rename", "replace", "copy", "copy2", "copytree", "link"}
GUARDS = {"aside", "drafts"}
MAY = re.compile(
    "|".join(rf"\b{name}\b" for name in [*WRITERS, *SAVES, "open", "fdopen", "ZipFile"])
)
# What writes to no file that somebody keeps, or is given a draft by who calls.
EXCEPT = {
    ("mho/core/files.py", "aside"): "makes and moves the drafts",
    ("mho/cli/pictures.py", "draw"): "is given a draft by `mho.cli.fit`",
    ("mho/study/tables.py", "_write_json"): "is given a draft by `save`",
    ("mho/study/tables.py", "_write_csv"): "is given a draft by `save`",
    ("mho/study/tables.py", "_write_parquet"): "is given a draft by `save`",
    ("mho/plot/page.py", "png"): "to memory",
    ("mho/testing/expect.py", "saved_and_loaded"): "to memory",
    ("mho/runs/storage.py", "_cut"): "shortens a journal to its last whole line, under its lock",
    ("mho/compat/notebooks.py", "run_cell_magic"): "``%%writefile -a`` appends to what is there",
    ("mho/compat/xbtorch/nn/datasets.py", "_download"): "a folder, unpacked aside and moved",
    ("mho_cli/app.py", "_answered"): "opens the system's nowhere",
}


def name_of(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def writes(call):
    """Whether a call, as it is written, makes or changes a file."""
    name, home = name_of(call), getattr(getattr(call.func, "value", None), "id", "")
    if name in ("open", "fdopen", "ZipFile", "TarFile"):
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        inner = [node for one in given for node in ast.walk(one)]
        modes = [str(node.value) for node in inner if isinstance(node, ast.Constant)]
        flags = {getattr(node, "attr", "") for node in inner}
        return any(re.fullmatch(r"[rwaxbt]{0,2}[wax+][bt+]{0,2}", mode) for mode in modes) or bool(
            flags & {"O_WRONLY", "O_RDWR", "O_CREAT"}
        )
    return name in WRITERS or (name in SAVES and home in MODULES)


def unguarded(tree):
    """Yield function and line of every write outside a ``with`` of a draft."""

    def walk(node, function, guarded):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function, guarded = node.name, False
        if isinstance(node, ast.Call) and writes(node) and not guarded:
            yield function, node.lineno
        if isinstance(node, ast.With):
            calls = [c for item in node.items for c in ast.walk(item) if isinstance(c, ast.Call)]
            guarded = guarded or bool(set(map(name_of, calls)) & GUARDS)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function, guarded)

    yield from walk(tree, "", False)


def found():
    return {
        (str(path.relative_to(SOURCE)), function): line
        for room in ("mho", "mho_cli")
        for path in sorted((SOURCE / room).rglob("*.py"))
        if MAY.search(text := path.read_text(encoding="utf-8"))
        for function, line in unguarded(ast.parse(text))
    }


def test_every_write_is_aside_or_excepted_with_a_reason():
    assert sorted(found()) == sorted(EXCEPT)


@pytest.mark.parametrize("text", [
    "open(p, 'w')", "p.open(mode='xb')", "open(p, 'a' if more else 'r')", "p.write_text(t)",
    "torch.save(s, p)", "figure.savefig(p)", "os.open(p, os.O_CREAT)", "ZipFile(p, 'w')",
    "np.savez(p, a)", "os.replace(a, b)", "p.open('r+')",
])  # fmt: skip
def test_writes_are_known_as_such(text):
    assert list(unguarded(ast.parse(f"def f():\n    {text}"))) == [("f", 2)]
    assert not list(unguarded(ast.parse(f"def f():\n    with aside(p) as p:\n        {text}")))


@pytest.mark.parametrize(
    "text", ["open(p)", "p.open('rb')", "frame.rename(columns=n)", "a.save(p)"]
)
def test_what_reads_is_none(text):
    assert not list(unguarded(ast.parse(text)))


# ── what they do ─────────────────────────────────────────────────────────────────────────────────


def outcome():
    return made_studies.outcome(
        [({"adc.bits": n}, [{"accuracy": 0.9, "energy": n}]) for n in (4, 6)]
    )


@functools.cache
def programmed():
    bar = mho.Crossbar(3, 4, mho.Hardware(device=mho.devices.ExponentialDevice()))
    return bar.program(torch.linspace(-1, 1, 12).view(3, 4))


def trained(path):
    torch.manual_seed(0)
    model = nn.Linear(40, 30)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = (torch.rand(8, 40), torch.randint(0, 30, (8,)))
    mho.train.fit(model, optimizer, data, functional.cross_entropy, epochs=1, checkpoint=path)


def command(*arguments):
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        if main([*map(str, arguments)]):
            raise OSError(err.getvalue())


def notebook(path):
    notebooks.Shell({}).run_cell_magic("writefile", str(path), "x = 1\n" * 200)


TABLE = mho.devices.JumpTable(
    tuple(1e-6 * k for k in range(1, 30)), (-1e-7, 1e-7), ((0.0, 1.0),) * 29
)
PUBLIC = {
    "chip.yaml": lambda path: mho.save_hardware(mho.Hardware(adc=mho.ADC(6)), path),
    "device.yaml": lambda path: mho.devices.PCM().save(path),
    "recipe.csv": lambda path: mho.programming.save_recipe(programmed(), path),
    "recipe.json": lambda path: mho.programming.save_recipe(programmed(), path),
    "study.json": lambda path: outcome().save(path),
    "study.csv": lambda path: outcome().save(path),
    "study.parquet": lambda path: outcome().save(path),
    "study.html": lambda path: outcome().report(path),
    "page.html": lambda path: page.write(path, "T", [page.Section("A", ["b"])]),
    "run.pt": trained,
    "card.png": lambda path: command("card", "pcm_joshi", "--out", path),
    "card.svg": lambda path: command("card", "pcm_joshi", "--out", path),
    "written.py": notebook,
}


def limited(name, path):
    """Write where files end at 60 bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
    PUBLIC[name](path)


def telling(pipe, action, *arguments):
    try:
        action(*arguments)
        pipe.send(None)
    except BaseException as error:
        pipe.send((type(error).__name__, str(error)))


def elsewhere(action, *arguments):
    """Return the error's type and text of an action in a process of its own."""
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=telling, args=(there, action, *arguments))
    process.start()
    try:
        assert here.poll(60), "it does not end"
        return here.recv()
    finally:
        process.kill()
        process.join()


def there(folder):
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".lock"]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PUBLIC)
def test_a_full_disk_leaves_what_was_there(name, tmp_path):
    path = tmp_path / name
    if name != "run.pt":  # a checkpoint is read before it is written
        path.write_bytes(b"what was there")
    programmed()
    before = there(tmp_path)
    error = elsewhere(limited, name, path)
    assert error is not None, "nothing was refused: too little is written"
    assert error[0] == "OSError"
    assert name in error[1]
    assert there(tmp_path) == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PUBLIC)
def test_a_link_stays_one_and_permissions_are_kept(name, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    path, goal = tmp_path / name, kept / "goal"
    path.symlink_to(goal)
    goal.touch(0o600)
    if name == "run.pt":
        goal.unlink()
    PUBLIC[name](path)
    assert path.is_symlink()
    assert goal.stat().st_size > 100
    assert {p.name for p in kept.iterdir()} - {".goal.lock"} == {"goal"}
    assert {p.name for p in tmp_path.iterdir()} == {name, "kept"}
    if name != "run.pt":
        assert stat.S_IMODE(goal.stat().st_mode) == 0o600


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PUBLIC)
def test_a_folder_is_no_file(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=rf"{name} is a folder"):
        PUBLIC[name](tmp_path / name)
    assert there(tmp_path) == {}


def test_tables_of_a_device_are_all_old_or_all_new(tmp_path):
    device = mho.devices.TabularDevice(TABLE, TABLE)
    device.to_tables(tmp_path / "one")
    before = there(tmp_path)
    assert len(before) == 6
    blocked = tmp_path / "one_reset_cdf.txt"
    blocked.unlink()
    blocked.mkdir()
    with pytest.raises(IsADirectoryError, match=r"one_reset_cdf\.txt is a folder"):
        device.replace(set_table=TABLE.replace(dg=(-2e-7, 2e-7))).to_tables(tmp_path / "one")
    del before[blocked.name]
    assert there(tmp_path) == before


# ── `aside` itself ───────────────────────────────────────────────────────────────────────────────


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("error", [Stopped, ValueError, OSError])
def test_an_error_on_the_way_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with files.aside(path) as draft:
            draft.write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert there(tmp_path) == {"a.txt": b"old"}


def test_the_disk_comes_before_the_move(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(
        os, "fsync", lambda handle, old=os.fsync: (done.append("sync"), old(handle))
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b, old=os.replace: (done.append("move"), old(a, b))
    )
    with files.aside(tmp_path / "a.txt") as draft:
        draft.write_text("new")
    assert done == ["sync", "move", "sync"]


def test_other_errors_are_not_said_to_be_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), files.aside(tmp_path / "a.txt"):
        (tmp_path / "elsewhere").read_text()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    said = r"^\[Errno 28\] No space left on device: nothing was written to: .*a\.txt"
    with pytest.raises(OSError, match=said), files.aside(tmp_path / "a.txt"):
        raise full


def test_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "a.txt"

    def write(letter):
        for _ in range(60):
            with files.aside(path) as draft:
                draft.write_text(letter * 5000)

    writers = [FORK.Process(target=write, args=(letter,)) for letter in "abc"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert seen <= {letter * 5000 for letter in "abc"}
    assert list(there(tmp_path)) == ["a.txt"]


def test_permissions_of_new_files_are_as_of_any(tmp_path):
    with files.aside(tmp_path / "a.txt") as draft:
        draft.write_text("")
    (tmp_path / "b.txt").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_permissions_are_kept_and_nobody_else_reads_the_draft(mode, tmp_path):
    path = tmp_path / "a.txt"
    path.touch()
    path.chmod(mode)
    with files.aside(path) as draft:
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_links(tmp_path):
    goal, link = tmp_path / "goal.txt", tmp_path / "link.yaml"
    link.symlink_to("goal.txt")  # leads nowhere yet
    with files.aside(link) as draft:
        assert draft.suffix == ".yaml"
        draft.write_text("one")
    assert (link.is_symlink(), goal.read_text()) == (True, "one")
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(IsADirectoryError, match="folder is a folder"):
        files.aside(tmp_path / "folder").__enter__()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="circle"):
        files.aside(tmp_path / "circle").__enter__()


def test_what_is_no_file_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OSError, match="a device or a pipe"):
            files.aside(path).__enter__()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_long_names_are_written(tmp_path):
    path = tmp_path / ("ä" * 120 + ".yaml")
    mho.save_hardware(mho.Hardware(), path)
    assert mho.load_hardware(path) == mho.Hardware()


def test_one_file_for_two_is_refused(tmp_path):
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ValueError, match="files must differ"):
        files.drafts(tmp_path / "a", tmp_path / "b").__enter__()


def as_anybody(path):
    if os.getuid() == 0:
        os.setuid(65534)
    files.aside(path).__enter__()


@pytest.mark.skipif(os.name == "nt", reason="other permissions")
def test_what_may_not_be_written_is_named():
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        folder = Path(made)
        (folder / "kept.yaml").write_text("old")
        (folder / "kept.yaml").chmod(0o444)
        folder.chmod(0o777)
        kind, said = elsewhere(as_anybody, folder / "kept.yaml")
        assert kind == "PermissionError"
        assert said.endswith("kept.yaml is read-only, and is left as it is")
        folder.chmod(0o555)
        kind, said = elsewhere(as_anybody, folder / "new.yaml")
        assert kind == "PermissionError"
        assert said.endswith("new.yaml'")
        folder.chmod(0o777)
        assert there(folder) == {"kept.yaml": b"old"}
