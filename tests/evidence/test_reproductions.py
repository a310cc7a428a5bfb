"""The reproductions read MNIST, hold the published numbers, and draw what they found."""

import csv
import gzip
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from scripts import example

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "reproductions"
MNIST = ROOT.parent / "shared" / "data" / "mnist"
PUBLISHED = ROOT.parent / "shared" / "data" / "lea" / "figure_4" / "b"


def script(name):
    """Import a script of the reproductions."""
    return example(f"reproductions/{name}")


common = script("common")


def write_idx(path, array, packed):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    raw = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if packed else raw)


@pytest.fixture
def folder(tmp_path):
    """A folder of the form of MNIST's, with few images, half of its files packed."""
    images = np.arange(6 * 28 * 28).reshape(6, 28, 28) % 256
    for part, count in (("train", 6), ("t10k", 4)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images[:count], packed=True)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.arange(count), packed=False)
    return tmp_path


def test_idx_files_are_read_packed_or_not(folder):
    found = common.from_folder(folder)
    assert found.train_x.shape == (6, 784)
    assert found.test_x.shape == (4, 784)
    assert found.train_y.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.train_x.dtype == torch.float32
    pixels = torch.arange(6 * 784) % 256
    torch.testing.assert_close(found.train_x.flatten() * 255, pixels.float())


def test_what_is_no_mnist_is_refused(folder, tmp_path):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x04\x01")
    with pytest.raises(ValueError, match="must hold 4 bytes of data, holds 1"):
        common.from_folder(folder)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"label\n1\n2\n")
    with pytest.raises(ValueError, match="must be an IDX file of unsigned bytes"):
        common.from_folder(folder)
    write_idx(folder / "t10k-labels-idx1-ubyte", np.arange(3), packed=False)
    with pytest.raises(ValueError, match="4 images of t10k, 3 labels"):
        common.from_folder(folder)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte or"):
        common.from_folder(folder)


def test_options_are_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="at least 1"):
        common.options("Title.\n\nMore.", "name", ["--chips", "0"])
    found = common.options("Title.\n\nMore.", "name", ["--quick", "--mnist", "there"])
    assert (found.quick, found.mnist, found.out) == (True, Path("there"), Path("reproduced"))


def test_without_mnist_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    samples, name = common.data(common.options("T.", "x", ["--out", str(tmp_path)]))
    assert samples.train_x.shape[1] == 784
    assert name != "MNIST"
    assert "the numbers reproduce nothing" in capsys.readouterr().out


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not here")
def test_mnist_itself():
    found = common.from_folder(MNIST)
    assert found.train_x.shape == (60_000, 784)
    assert found.test_x.shape == (10_000, 784)
    assert found.train_y[:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert torch.bincount(found.train_y)[0] == 5923
    # The field's own numbers: mean and standard deviation of the training pixels.
    assert float(found.train_x.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(found.train_x.std()) == pytest.approx(0.3081, abs=1e-4)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data are not here")
def test_published_tables_are_those_of_the_paper():
    kinds = {"LEA": "LEA1", "committee": "CM", "inner fault tolerance": "MAO"}
    example, committees = script("lea_table").example, script("committees")

    def mean(kind, copies):
        path = PUBLISHED / f"accuracy_comparison_alpha{copies}_{kinds[kind]}.txt"
        stuck, means, *_ = np.loadtxt(path)
        assert stuck.tolist() == pytest.approx(example.STUCK)
        return means

    for kind, by_copies in example.PUBLISHED.items():
        for copies, values in by_copies.items():
            np.testing.assert_allclose(values, mean(kind, copies), atol=5.1e-3)
    for size, values in committees.PUBLISHED.items():
        np.testing.assert_allclose(values, mean("committee", size), atol=5.1e-3)


def test_a_product_on_pcm_errs_as_published():
    module = script("pcm_drift")
    for time in ("1 hour", "1 year"):
        found = torch.tensor([module.product_error(module.TIMES[time], s) for s in range(2)])
        expected = torch.tensor(module.PUBLISHED[time])
        assert torch.allclose(found.mean(0), expected.double().float(), rtol=0.03)


@pytest.fixture(scope="module")
def few():
    samples = common.enlarged_digits()
    return samples._replace(train_x=samples.train_x[:400], train_y=samples.train_y[:400])


def test_committees_on_chips(few):
    module = script("committees")
    networks = [module.example.network(few, seed, 30, hidden=10) for seed in range(2)]
    found = module.study(few, networks, (1, 2), (0.0, 0.5), 2)
    assert set(found) == {1, 2}
    assert all(len(values) == 2 for by_stuck in found.values() for values in by_stuck.values())
    assert np.mean(found[2][0.0]) > np.mean(found[2][0.5])


def test_low_rank_curves(few):
    module = script("low_rank")
    whole = module.curve(few, None, 10)
    first = module.curve(few, module.METHODS["streaming batch PCA"](1), 10)
    assert len(whole) == len(first) == 10
    assert whole[-1] > 60.0
    assert first[-1] < whole[-1]


def test_in_situ_curves(few):
    module = script("in_situ_rules")
    found = module.curve(module.METHODS["Tiki-Taka v2, asymmetric"], few, 1, parts=2)
    assert len(found) == 2
    assert all(0.0 <= value <= 100.0 for value in found)


def test_a_figure_and_its_numbers_are_written(tmp_path, capsys):
    module = script("low_rank")
    out = tmp_path / "new"
    chosen = common.options("T.", "low_rank", ["--out", str(out)])
    known = ("software", "whole gradient")
    curves = {(name, None): [90.0, 91.0] for name in known}
    curves |= {(name, rank): [80.0 + rank, 81.0] for name in module.METHODS for rank in (1, 4)}
    figure = module.draw(curves, (1, 4), "MNIST")
    common.finish(figure, chosen, ("a", "b"), [("x", 1.23456789), ("y", 2)])
    assert (out / "low_rank.png").read_bytes().startswith(b"\x89PNG")
    with (out / "low_rank.csv").open(encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["x", "1.23457"], ["y", "2"]]
    assert "1 thread" in capsys.readouterr().out or torch.get_num_threads() > 1
