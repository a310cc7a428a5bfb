"""Models on crossbars leave Python: torch.export, ONNX by both exporters, traces, torch.func."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

import menu
import mho
from mho.effects import ReadNoise, TelegraphNoise, WriteNoise


class Attention(nn.Module):
    """Scaled dot-product attention between three linear layers."""

    def __init__(self):
        super().__init__()
        self.keys, self.values, self.queries = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        parts = (layer(x).unsqueeze(1) for layer in (self.queries, self.keys, self.values))
        return nn.functional.scaled_dot_product_attention(*parts).squeeze(1)


MODELS = {
    "linear": (lambda: nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3)), (7,)),
    "conv": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()), (2, 4, 4)),
    "lstm": (menu.Last, (3, 4)),
    "attention": (Attention, (3, 6)),
    "multihead": (menu.Attention, (3, 4)),
    "up": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1), (4, 2, 3)),
    "pair": (menu.Pair, (7,)),
}
HARDWARE = {
    "ideal": mho.Hardware(effects=(WriteNoise(0.02),)),
    "converted": mho.Hardware(array=mho.Array(4, 4), dac=mho.DAC(8), adc=mho.ADC(8), bias="array"),
    "known": mho.Hardware(array=mho.Array(9, 4), dac=mho.DAC(8, range=4.0), adc=mho.ADC(8)),
    "serial": mho.Hardware(dac=mho.DAC(5, mode="bit_serial"), adc=mho.ADC(8)),
    "twos": mho.Hardware(dac=mho.DAC(5, mode="bit_serial", code="twos_complement"), adc=mho.ADC(8)),
    "wired": mho.Hardware(
        array=mho.Array(4, 4, wires=menu.WIRES), adc=mho.ADC(8, range="per_vector")
    ),
    "sliced": mho.Hardware(encoding=menu.ENCODINGS["sliced"](menu.SCALINGS["columns"])),
}
NOISY = HARDWARE["converted"].replace(effects=(ReadNoise(0.05), TelegraphNoise(0.2)))


def built(kind, hardware):
    make, shape = MODELS[kind]
    torch.manual_seed(1)
    model = mho.convert(make(), hardware, seed=2).eval()
    x = torch.randn(3, *shape)
    mho.calibrate(model, x)
    return model, x


def same(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "hardware"),
    [
        ("linear", "wired"),
        ("linear", "twos"),
        ("conv", "converted"),
        ("conv", "known"),
        ("lstm", "serial"),
        ("attention", "converted"),
        ("multihead", "converted"),
        ("up", "sliced"),
        ("pair", "serial"),
    ],
)
def test_exported_and_traced_models_compute_the_same(kind, hardware):
    model, x = built(kind, HARDWARE[hardware])
    wanted = model(x).detach()
    exported = torch.export.export(copy.deepcopy(model), (x,)).module()
    same(exported(x), wanted)
    with torch.no_grad():  # so does its own check trace
        same(torch.jit.trace(copy.deepcopy(model), (x,))(x), wanted)


@pytest.mark.parametrize(
    ("kind", "hardware"), [("linear", "serial"), ("conv", "converted"), ("multihead", "ideal")]
)
def test_exported_for_any_batch(kind, hardware):
    model, x = built(kind, HARDWARE[hardware])
    batch = {0: torch.export.Dim("batch", min=2, max=64)}
    exported = torch.export.export(copy.deepcopy(model), (x,), dynamic_shapes=(batch,)).module()
    many = torch.cat((x, -x, x))
    same(exported(many), model(many).detach())


def run_onnx(model, x, *, dynamo):
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    if dynamo:
        pytest.importorskip("onnxscript")
    file = io.BytesIO()
    if dynamo:
        torch.onnx.export(copy.deepcopy(model), (x,), dynamo=True, verbose=False).save(file)
    else:
        torch.onnx.export(copy.deepcopy(model), (x,), file, dynamo=False)
    graph = onnx.load_from_string(file.getvalue())
    given = {graph.graph.input[0].name: x.numpy()}
    return torch.from_numpy(reference.ReferenceEvaluator(graph).run(None, given)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize(
    ("kind", "hardware"),
    [
        ("linear", "twos"),
        ("linear", "wired"),
        ("conv", "known"),
        ("lstm", "converted"),
        ("attention", "serial"),
    ],
)
def test_onnx_computes_the_same(kind, hardware, dynamo):
    model, x = built(kind, HARDWARE[hardware])
    same(run_onnx(model, x, dynamo=dynamo), model(x).detach())


@pytest.mark.filterwarnings("ignore")
def test_patches_of_images_need_the_newer_exporter():
    model, x = built("conv", HARDWARE["converted"])
    same(run_onnx(model, x, dynamo=True), model(x).detach())
    with pytest.raises(torch.onnx.errors.OnnxExporterError, match="Unfold"):
        run_onnx(model, x, dynamo=False)


@pytest.mark.filterwarnings("ignore")
def test_onnx_refuses_noise_and_takes_a_model_without():
    model, x = built("linear", NOISY)
    for dynamo in (True, False):
        with pytest.raises(Exception, match="noise_free"):
            run_onnx(model, x, dynamo=dynamo)
    with pytest.raises(ValueError, match="noise_free"):
        torch.jit.trace(copy.deepcopy(model), (x,))
    quiet = mho.noise_free(model)
    for dynamo in (True, False):
        same(run_onnx(quiet, x, dynamo=dynamo), quiet(x).detach())


def test_torch_export_keeps_the_noise():
    model, x = built("linear", NOISY)
    exported = torch.export.export(copy.deepcopy(model), (x,)).module()
    reads = torch.stack([exported(x) for _ in range(150)]).detach()
    assert not torch.equal(reads[0], reads[1])
    wanted = torch.stack([model(x) for _ in range(150)]).detach()
    error = (wanted.var(0) / 75).sqrt() + 1e-6
    assert bool(((reads.mean(0) - wanted.mean(0)).abs() < 6 * error).all())


def test_scripts_are_refused_by_name():
    for kind in MODELS:
        model, _ = built(kind, HARDWARE["ideal"])
        with pytest.raises(TypeError, match=r"torch\.jit\.script cannot compile.*torch\.export"):
            torch.jit.script(model)


# ── noise_free ───────────────────────────────────────────────────────────────────────────────


def test_noise_free_reads_are_the_mean_of_noisy_ones():
    amplifier = mho.Amplifier(noise=1e-7, shared_noise=1e-7, gain_noise=0.05, offset=1e-7)
    hardware = mho.Hardware(
        effects=(ReadNoise(0.05), ReadNoise(0.1, "value"), TelegraphNoise(0.3)), amplifier=amplifier
    )
    model, x = built("linear", hardware)
    model = model[:1]
    quiet = mho.noise_free(model)
    assert torch.equal(quiet(x), quiet(x))
    reads = torch.stack([model(x) for _ in range(500)]).detach()
    assert bool(((quiet(x) - reads.mean(0)).abs() < 6 * reads.std(0) / 500**0.5).all())
    assert not torch.equal(model(x), model(x))  # the model itself is as it was
    mho.program(quiet)
    assert torch.equal(quiet(x), quiet(x))
    assert torch.equal(copy.deepcopy(quiet)(x), quiet(x))
    assert all(crossbar.quiet for crossbar in mho.crossbars(quiet).values())


def test_noise_free_transposed_reads():
    bare = mho.Crossbar(4, 3, mho.Hardware(effects=(ReadNoise(0.1),)), seed=1)
    bare.program(torch.randn(4, 3))
    still = mho.noise_free(nn.ModuleList([bare]))[0]
    v = torch.randn(2, 3)
    assert torch.equal(v @ still.T, v @ still.T)
    assert not torch.equal(v @ bare.T, v @ bare.T)


def test_noise_free_needs_crossbars():
    with pytest.raises(ValueError, match="crossbar"):
        mho.noise_free(nn.Linear(2, 2))


# ── torch.func ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["linear", "conv", "lstm", "attention"])
def test_gradients_by_torch_func_are_those_of_autograd(kind):
    model, x = built(kind, HARDWARE["converted"].replace(effects=(WriteNoise(0.03),)))
    for crossbar in mho.crossbars(model).values():
        crossbar.learn_ranges()
    model.train()
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss(given):
        return functional_call(model, given, (x,)).square().sum()

    torch.manual_seed(3)
    found = grad(loss)(parameters)
    torch.manual_seed(3)
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        apart = float((found[name] - parameter.grad).abs().max())
        # What no softmax sees (a key's bias) has a gradient of rounding errors alone.
        assert apart <= 1e-4 * float(parameter.grad.abs().max()) + 1e-6, name
    assert any(name.endswith("range_shift") and bool(g.any()) for name, g in found.items())


def test_learned_ranges_are_those_that_functional_call_puts_in_their_place():
    model, x = built("linear", HARDWARE["converted"])
    for crossbar in mho.crossbars(model).values():
        crossbar.learn_ranges()
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    moved = {n: p + 0.5 if n.endswith("range_shift") else p for n, p in parameters.items()}
    assert not torch.equal(functional_call(model, moved, (x,)), model(x))
    wanted = copy.deepcopy(model)
    with torch.no_grad():
        for crossbar in mho.crossbars(wanted).values():
            crossbar.range_shift += 0.5
    assert torch.equal(functional_call(model, moved, (x,)), wanted(x))


def test_vmap_draws_as_its_randomness_says():
    model, x = built("linear", NOISY.replace(effects=(ReadNoise(0.05), WriteNoise(0.05))))
    one = x[:1].expand(5, -1)
    for mode in (False, True):
        model.train(mode)
        different = vmap(lambda v: model(v[None])[0], randomness="different")(one)
        assert not torch.equal(different[0], different[1])
        alike = vmap(lambda v: model(v[None])[0], randomness="same")(one)
        torch.testing.assert_close(alike[0], alike[1])
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(given, v):
        return functional_call(model, given, (v[None],)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0), randomness="different")(parameters, x)
    assert all(g.shape == (3, *parameters[n].shape) for n, g in each.items())


def test_jacobians_of_noisy_reads_leave_the_stream_counted():
    model, x = built("linear", NOISY)
    crossbar = next(iter(mho.crossbars(model).values()))
    before = crossbar.cells.streams.clone()
    jacobian = jacrev(model)(x)
    assert jacobian.shape == (3, 3, 3, 7)
    assert bool((crossbar.cells.streams[2, 1] > before[2, 1]).all())
