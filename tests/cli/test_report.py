"""`mho report`: from a saved model and a hardware to a page, without running what a file holds."""

import os
import pickle
import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

import mho
from mho.cli import exported, saved
from mho_cli.app import main

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

NETWORK = """
import torch
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))

def other():
    return nn.Linear(2, 2)

def task():
    model = network()
    x = torch.rand(40, 1, 4, 4)
    return model, x, model(x).argmax(1), x[:10]

def pairs():
    x = torch.rand(30, 1, 4, 4, dtype=torch.float64)
    return x.numpy(), torch.zeros(30, dtype=torch.int64)

def three():
    return 1, 2, 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "reported.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("reported", None)
    yield tmp_path
    sys.modules.pop("reported", None)


@pytest.fixture
def network(folder):
    torch.manual_seed(0)
    return __import__("reported").network().eval()


def export(model, path="model.pt2"):
    x = torch.rand(2, 1, 4, 4)
    sizes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=sizes), path)
    return x


def run(*arguments):
    return main(["report", *arguments])


def test_weights_with_what_makes_their_model_and_data(network, folder, capsys):
    torch.save(network.state_dict(), "model.pt")
    x = np.random.default_rng(0).random((60, 1, 4, 4))
    with torch.no_grad():
        y = network(torch.tensor(x, dtype=torch.float32)).argmax(1)
    np.savez("data.npz", inputs=x, labels=y)
    hardware = mho.Hardware(array=mho.Array(32, 32), dac=mho.DAC(8), adc=mho.ADC(8))
    mho.save_hardware(hardware, "hardware.yaml")
    line = ["model.pt", "hardware.yaml", "--network", "reported:network", "--data", "data.npz"]
    assert run(*line, "--chips", "2", "--out", "out/page.html") == 0
    said = capsys.readouterr().out
    # 64 inputs on arrays of 32 rows, positive and negative: 4 tiles; the kernel of 9: 2.
    assert re.search(r"^total +6 +456$", said, re.MULTILINE)
    assert "100% of matrix weights" in said
    assert "the first 12 to calibrate, the others to test" in said
    assert "one inference on" in said
    assert re.search(r"plain PyTorch +100\.0", said)
    accuracy = float(re.search(r"this device +([\d.]+)", said)[1])
    assert accuracy > 80.0
    page = (folder / "out" / "page.html").read_text()
    assert not re.search(r"<[a-z]+[^>]*\s(src|href)=.?(https?:)?//", page)
    for words in ("model on hardware", "One inference on", "Memory and time", f"{accuracy:.1f}"):
        assert words in page


def test_a_function_and_what_is_left_out_without_inputs(network, capsys):
    assert run("reported:network", "ideal") == 0
    said = capsys.readouterr().out
    assert "none: no cost and no accuracy (give --data or --shape)" in said
    assert "one inference" not in said
    assert "plain PyTorch" not in said
    assert run("reported:network", "ideal", "--shape", "1,4,4") == 0
    said = capsys.readouterr().out
    assert "64 drawn at random from 0 to 1: no accuracy" in said
    assert "one inference on" in said
    assert "plain PyTorch" not in said


def test_a_whole_task(network, capsys):
    assert run("reported:task", "ideal", "--chips", "1") == 0
    assert "plain PyTorch" in capsys.readouterr().out


def test_nothing_runs_without_trust(network, capsys):
    class Evil:
        def __reduce__(self):
            return os.mkdir, ("ran",)

    with open("bare.pt", "wb") as file:
        pickle.dump(Evil(), file)
    torch.save(Evil(), "zip.pt")
    torch.save(network, "module.pt")
    export(network)
    for name in ("bare.pt", "zip.pt", "module.pt", "model.pt2"):
        assert run(name, "ideal") == 1
        said = capsys.readouterr().err
        assert "--trust" in said
        assert said.count("\n") == 1
        assert not os.path.exists("ran")


def test_modules_and_programs_that_are_trusted(network, capsys):
    # A module of torch's own layers: it unpickles wherever torch is.
    torch.save(network, "module.pt")
    x = export(network)
    for name in ("module.pt", "model.pt2"):
        found = saved.model(name, trust=True)
        with torch.no_grad():
            assert torch.equal(found.model(x), network(x))
        assert (found.inputs is not None) == (name == "model.pt2")
        assert run(name, "ideal", "--trust") == 0
        assert "100% of matrix weights" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_damaged_program_is_one_line(capfd):
    with open("cut.pt2", "wb") as file:
        file.write(b"PK\x03\x04 and no more")
    assert run("cut.pt2", "ideal", "--trust") == 1
    error = capfd.readouterr().err
    assert error.startswith("mho report: cut.pt2 is no exported program: ")
    assert error.count("\n") == 1


def test_checkpoints_of_tools(network):
    state = network.state_dict()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, "checkpoint.ckpt")
    torch.save({"model_state_dict": state}, "model.tar")
    x = torch.rand(3, 1, 4, 4)
    for name in ("checkpoint.ckpt", "model.tar"):
        assert torch.equal(saved.model(name, network="reported:network").model(x), network(x))
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(state, "model.safetensors")
    found = saved.model("model.safetensors", network="reported:network")
    assert torch.equal(found.model(x), network(x))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.pt",), "no file nothing.pt; a function is given as module:function"),
        (("reported:nothing",), "has no function 'nothing'"),
        (("reported:three",), "must return (model, inputs, labels, calibration)"),
        (("reported:network", "--network", "reported:network"), "leave out --network"),
        (("reported:task", "--data", "data.npz"), "leave out --data"),
        (("reported:task", "--shape", "1,4,4"), "leave out --shape"),
        (("reported:network", "--data", "reported:pairs", "--shape", "3"), "leave it out, or"),
        (("reported:network", "--data", "none.npz"), "no file none.npz"),
        (("reported:network", "--data", "reported:three"), "must return (inputs, labels)"),
        (("reported:network", "--data", "wrong.npz"), "arrays inputs and labels, got x"),
        (("reported:network", "--data", "array.npy"), "must be an .npz file"),
        (("reported:network", "--data", "few.npz"), "at least 5 inputs, got 3"),
        (("reported:network", "--shape", "5,4,4"), "does not take inputs of shape [64, 5, 4, 4]"),
        (("weights.pt",), "say with --network"),
        (("weights.pt", "--network", "reported:other"), "not those of reported:other: Missing key"),
        (("weights.pt", "--network", "reported:task"), "must return a torch.nn.Module, got tuple"),
        (("text.pt",), "text.pt is no file of torch.save"),
        (("list.pt",), "must hold a model or its weights, got list"),
        (("script.pt",), "TorchScript"),
        (("reported:network", "--out", "."), "is a folder"),
        (("reported:network", "--chip", "moon"), "no architecture 'moon'"),
    ],
)
def test_what_is_refused(network, capsys, arguments, words):
    torch.save(network.state_dict(), "weights.pt")
    torch.save([1, 2], "list.pt")
    with open("text.pt", "w") as file:
        file.write("no model")
    np.savez("wrong.npz", x=np.ones(3))
    np.save("array.npy", np.ones(3))
    np.savez("few.npz", inputs=np.ones((3, 1, 4, 4)), labels=np.zeros(3, int))
    if "script.pt" in arguments:
        torch.jit.save(torch.jit.trace(network, torch.rand(1, 1, 4, 4)), "script.pt")
    model, *options = arguments
    assert run(model, "ideal", *options) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("mho report: ")
    assert words in error


class Several(nn.Module):
    """Layers of each kind, weights that two share, weights that are worked out."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.line = nn.Conv1d(8, 8, 3, padding="same", groups=2)
        self.plane = nn.Conv2d(1, 2, (3, 2), stride=(2, 1), dilation=(1, 2), padding=1, bias=False)
        self.up = nn.ConvTranspose1d(8, 8, 2)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.out = nn.Linear(8, 9, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x):
        h = self.table(x)
        h = self.attention(h, h, h)[0]
        h = self.up(self.line(h.transpose(1, 2))).transpose(1, 2)
        seen = self.plane(h.unsqueeze(1)).sum((1, 2, 3), keepdim=False)[:, None, None]
        return self.out(self.out(self.normed(h)) @ self.table.weight + seen)


def test_programs_get_their_layers_back():
    torch.manual_seed(0)
    model, x = Several().eval(), torch.randint(9, (2, 5))
    found = exported.layered(torch.export.export(model, (x,)))
    with torch.no_grad():
        assert torch.allclose(found(x), model(x), atol=1e-6)
    layers = {
        n: type(m)
        for n, m in found.named_modules()
        if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d))
    }
    assert layers == {
        "attention_in_proj_layer": nn.Linear,
        "attention.out_proj": nn.Linear,
        "line": nn.Conv1d,
        "plane": nn.Conv2d,
        "out": nn.Linear,
    }
    analog = mho.convert(found, mho.Hardware())
    with torch.no_grad():
        assert torch.allclose(analog(x), model(x), atol=1e-4)
    assert analog.train().training
