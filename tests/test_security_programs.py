"""What runs code, and what of the environment counts: no more than SECURITY.md says."""

import ast
import json
import pickle
import re
import struct
from pathlib import Path

import pytest
import torch
from torch import nn

import mho
from mho.cli import saved
from mho.compat import gone, notebooks
from mho.core import files, yaml_reader
from mho.runs.storage import open_storage
from mho.study import samplers
from security import ESCAPES, MARK, Payload, pickled

ROOT = Path(__file__).parents[1]
SAID = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in an empty folder, in which no payload has left its mark at the end."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / MARK).exists(), "a payload has run"


# ── where code runs ──────────────────────────────────────────────────────────────────────────

RUNNING = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "torch.export.load",
    "np.load", "pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.loads",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "runpy.run_module", "runpy.run_path",
    "os.system", "os.popen", "subprocess.run", "subprocess.Popen", "subprocess.check_output",
}  # fmt: skip
"""Calls that may run what they are given, by the names under which they are written."""

ALLOWED = {
    "mho/cli/given.py": {"np.load"},  # without pickles
    "mho/cli/saved.py": {"torch.load", "torch.export.load"},  # --trust
    "mho/compat/notebooks.py": {"exec", "compile"},  # programs
    "mho/compat/running.py": {"runpy.run_module"},
    "mho/runs/work.py": {"pickle.loads"},  # what this process itself has sent to its workers
    "mho/testing/cells.py": {"pickle.loads"},  # what it has pickled itself
    "mho/testing/expect.py": {"torch.load"},
    "mho/train/checkpoint.py": {"torch.load"},
    "mho_cli/machine.py": {"subprocess.run"},  # `mho doctor` asks programs for their versions
}
"""Where they stand. Before another file is added here: SECURITY.md says what runs code."""


def calls(path):
    """Yield the name and the call of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_code_runs_nowhere_else():
    found = {}
    for path in SOURCES:
        names = {name for name, _ in calls(path)} & RUNNING
        if names:
            found[path.relative_to(ROOT / "src").as_posix()] = names
    assert found == ALLOWED


def test_weights_are_data_unless_the_user_trusts_them():
    seen = []
    for path in SOURCES:
        for name, call in calls(path):
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if name == "torch.load":
                seen.append(given.get("weights_only"))
            if name == "np.load":
                assert given["allow_pickle"] == "False", path
    assert set(seen) == {"True", "not trust"}


def test_what_the_environment_means_is_written_down():
    inside = {
        name
        for path in SOURCES
        for name in re.findall(r"\"(MHO_[A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    assert inside == set(re.findall(r"`(MHO_[A-Z_]+)`", SAID))


def test_the_limits_that_are_said_are_the_limits():
    said = {
        "16 MiB": yaml_reader._LONGEST == 16 << 20,
        "a million values": yaml_reader._MOST == 1_000_000,
        "50 levels": yaml_reader._DEEPEST == 50,
        "1 GiB": files.MOST == 1 << 30,
        "10,000,000 each": samplers.MOST == 10_000_000,
    }
    text = " ".join(SAID.split())
    assert all(limit in text and holds for limit, holds in said.items())


# ── pickles that are trusted ─────────────────────────────────────────────────────────────────


@pytest.fixture
def loading(monkeypatch):
    """Put `torch.load` and the environment back at the end."""
    monkeypatch.setattr(torch, "load", torch.load)
    monkeypatch.setenv(gone.TRUSTED, "")
    return torch


def ran(here):
    """Whether a payload has left its mark, which is taken away."""
    there = (here / MARK).exists()
    if there:
        (here / MARK).rmdir()
    return there


def test_one_pickle_is_trusted_and_no_other(here, loading):
    for name in ("named.pt", "other.pt"):
        torch.save(Payload(), here / name)
    (here / "link.pt").symlink_to("named.pt")
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "named.pt").write_bytes((here / "named.pt").read_bytes())
    with pytest.raises(pickle.UnpicklingError):
        loading.load("named.pt")
    mho.compat.trust_pickle("named.pt")
    for path in ("named.pt", here / "named.pt", "link.pt"):
        loading.load(path)
        assert ran(here)
    for path in ("other.pt", "elsewhere/named.pt", here / "other.pt"):
        with pytest.raises(pickle.UnpicklingError):
            loading.load(path)
    with (here / "other.pt").open("rb") as file, pytest.raises(pickle.UnpicklingError):
        loading.load(file)
    with pytest.raises(pickle.UnpicklingError):
        loading.load("named.pt", weights_only=True)  # whoever asks for it has it


def test_the_environment_counts_for_old_programs_alone(here, loading, monkeypatch):
    torch.save(Payload(), here / "named.pt")
    monkeypatch.setenv(gone.TRUSTED, str(here / "named.pt"))
    with pytest.raises(ValueError, match="--trust"):
        saved.model("named.pt")
    with pytest.raises(pickle.UnpicklingError):
        loading.load("named.pt")  # nobody has asked for the layer of old programs
    gone.from_environment()
    loading.load("named.pt")
    assert ran(here)
    with pytest.raises(ValueError, match="--trust"):
        saved.model("named.pt")  # mho's own readers ask for weights alone


def test_a_notebook_that_is_read_has_not_run(here):
    cell = {"cell_type": "code", "source": ["import os\n", "os.mkdir('ran')\n", "!mkdir ran"]}
    (here / "a.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
    text = notebooks.text_of("a.ipynb")
    assert "os.mkdir" in text
    assert list(notebooks.blocks_of("a.ipynb", text))


# ── safetensors ──────────────────────────────────────────────────────────────────────────────


def safe(header, data=b"", claimed=None):
    """Return the bytes of a file of safetensors."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if claimed is None else claimed) + text + data


def one(**changes):
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickled(),
        safe(one(), claimed=2**62),
        safe(one(), b"12345678", claimed=10),
        safe(b"[" * 100_000),
        safe(b'{"w":' * 100_000),
        safe(one(shape=[10**12]), b"12345678"),
        safe(one(shape=[2**63, 2**63]), b"12345678"),
        safe(one(data_offsets=[0, 10**12]), b"12345678"),
        safe(one(data_offsets=[8, 0]), b"12345678"),
        safe(one(dtype="pickle"), b"12345678"),
        safe({**one(), "v": one()["w"]}, b"12345678"),  # two names for one place
        safe({"__metadata__": {"__reduce__": "os.mkdir"}}),
    ],
)
def test_tensors_of_strangers_are_read_or_refused(here, data):
    pytest.importorskip("safetensors")
    (here / "a.safetensors").write_bytes(data)
    with pytest.raises((ValueError, TypeError), match=r"a\.safetensors"):
        saved.model("a.safetensors", network="theirs:make")


def test_names_of_tensors_are_texts(here, capsys):
    tensors = pytest.importorskip("safetensors.torch")
    (here / "a_network.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Linear(2, 2)"
    )
    tensors.save_file({ESCAPES: torch.zeros(2), "__class__": torch.zeros(2)}, "a.safetensors")
    from mho_cli.app import main

    mho.save_hardware(mho.Hardware(), "chip.yaml")
    assert main(["report", "a.safetensors", "chip.yaml", "--network", "a_network:make"]) == 1
    out, err = capsys.readouterr()
    assert "a.safetensors" in err
    assert not set("\x1b\x07\x9b\u202e") & set(out + err)


# ── databases ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@host/base",
        "sqlite:///../elsewhere.db",
        "sqlite+pysqlite:///elsewhere.db",
        "file:///tmp/elsewhere",
        "../elsewhere://x",
        "://",
        "postgresql://me:s3cret@127.0.0.1:1/base",
        "postgresql://me:s3cret@127.0.0.1:port/base",
        "postgresql+none://me:s3cret@127.0.0.1:1/base",
        "postgresql+psycopg://me:s3cret@127.0.0.1:1/base?password=s3cret",
        "postgresql+psycopg://me:s3cret@127.0.0.1:1/base?passfile=nowhere",
        "postgresql://me:s3cret@[::1/base",
    ],
)
def test_a_database_is_postgresql_and_passwords_are_not_shown(here, url):
    pytest.importorskip("psycopg")
    with pytest.raises((ValueError, OSError, ImportError)) as refused:
        open_storage(url)
    error = refused.value
    assert "store" in str(error)
    assert "s3cret" not in f"{error}"
    assert not list(here.iterdir())


# ── workbooks ────────────────────────────────────────────────────────────────────────────────


def test_a_formula_is_text(here):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("V (V)", "I (A)"), (0.0, 0.0), (1.0, "=HYPERLINK(1)"), (2.0, "=cmd|'/c x'!A1")):
        book.active.append(row)
    book.save("a.xlsx")
    with pytest.raises(ValueError, match=r"a\.xlsx"):
        mho.fit.read("a.xlsx", kind="iv")


def test_a_whole_program_needs_trust(here):
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), "a.pt2")
    with pytest.raises(ValueError, match="--trust"):
        saved.model("a.pt2")
