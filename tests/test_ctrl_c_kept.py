"""Ctrl-C in a fit and in a sweep: what is kept is whole, and a second start goes on from it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn
from torch.nn import functional

import small_studies
from mho.runs import storage
from mho.study import sweep
from mho.train import checkpoint, fit

HERE = Path(__file__).parent
RUNS = 5
X = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_begun_again_it_ends_with_the_same_bits():
    done = subprocess.run(
        [sys.executable, str(HERE / "ctrl_c_kept.py"), "3", "5"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == RUNS
    assert [one for one in told if one["errors"] or one["spoiled"] or not one["same"]] == []
    assert sum(one["hits"] for one in told) > RUNS
    assert max(one["slowest"] for one in told) < 10.0


class Interrupted:
    """An open file; Ctrl-C comes at one of its writes."""

    def __init__(self, file, at):
        self.file, self.at = file, at

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, what):
        self.at -= 1
        if not self.at:
            raise KeyboardInterrupt
        return self.file.write(what)


@pytest.mark.parametrize("at", [1, 2, 5, 9, 14])
def test_while_a_checkpoint_is_written_it_is_no_error_of_torch(tmp_path, monkeypatch, at):
    path, opened = tmp_path / "run.pt", Path.open

    def run(epochs):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(model.parameters(), 0.1)
        data = (X, torch.zeros(8, dtype=torch.int64))
        return fit(model, optimizer, data, functional.cross_entropy, epochs=epochs, checkpoint=path)

    def open_(draft, mode="r", **more):
        file = opened(draft, mode, **more)
        return Interrupted(file, at) if mode == "wb" else file

    run(1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        with pytest.raises(KeyboardInterrupt):
            run(3)
    assert {one.name for one in tmp_path.iterdir()} == {"run.pt", ".run.pt.lock"}
    assert torch.load(path, weights_only=True)["progress"]["epoch"] == 1
    assert len(run(3).loss) == 3


def takes_twice_and_is_interrupted(monkeypatch):
    """Ctrl-C in a lock's own code leaves its count wrong, as that of filelock 3.16 is."""
    acquire, once = FileLock.acquire, iter([True])

    def interrupted(lock, *given, **named):
        taken = acquire(lock, *given, **named)
        if next(once, False):
            acquire(lock, *given, **named)
            raise KeyboardInterrupt
        return taken

    monkeypatch.setattr(FileLock, "acquire", interrupted)


def test_just_as_a_checkpoint_s_lock_was_taken_it_is_let_go(tmp_path, monkeypatch):
    takes_twice_and_is_interrupted(monkeypatch)
    with pytest.raises(KeyboardInterrupt) as kept, checkpoint.alone(tmp_path / "run.pt"):
        pass
    with checkpoint.alone(tmp_path / "run.pt"):
        pass
    del kept


class Broken:
    """Torch cannot write it."""

    def state_dict(self):
        return {"x": _Refusing()}


class _Refusing:
    def __reduce__(self):
        raise RuntimeError("cannot be written")


def test_an_error_of_who_saves_on_ctrl_c_is_an_error(tmp_path):
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(RuntimeError, match="cannot be written"):
            checkpoint.save(tmp_path / "run.pt", {"model": Broken()}, {}, {})


@pytest.mark.parametrize("where", ["_cut", "quiet", "acquire"])
@pytest.mark.parametrize("ending", [".journal", ".db"])
def test_just_as_a_lock_was_taken_it_is_let_go(tmp_path, monkeypatch, where, ending):
    def run():
        return sweep(
            {"adc.bits": [4]}, small_studies.evaluate, hardware=small_studies.HARDWARE, workers=0,
            store=tmp_path / f"study{ending}", chips=1,
        )  # fmt: skip

    def interrupted(*_):
        raise KeyboardInterrupt

    if where == "_cut" and ending == ".db":
        pytest.skip("of journals")
    with monkeypatch.context() as patch:
        if where == "acquire":
            takes_twice_and_is_interrupted(patch)
        else:
            patch.setattr(
                "mho.runs.ledger.quiet" if where == "quiet" else "mho.runs.storage._cut",
                interrupted,
            )
        with pytest.raises(KeyboardInterrupt) as kept:  # as a notebook keeps it
            run()
    assert small_studies.table(run())
    del kept


def test_what_was_held_is_let_go_when_work_ends(tmp_path, monkeypatch):
    """Ctrl-C may come between a lock's own code and whoever is to let it go."""
    opened, found = storage.open_storage, []

    def held(store):
        found.append(opened(store))
        return found[-1]

    def interrupted(hardware, seed, settings):
        found[0].alone().acquire()
        raise KeyboardInterrupt

    monkeypatch.setattr("mho.study.sweeps.open_storage", held)
    settings = {"hardware": small_studies.HARDWARE, "workers": 0, "store": tmp_path / "a.journal"}
    with pytest.raises(KeyboardInterrupt) as kept:
        sweep({"adc.bits": [4]}, interrupted, **settings)
    monkeypatch.undo()
    with opened(tmp_path / "a.journal").alone().acquire(timeout=1.0):
        pass
    del kept
