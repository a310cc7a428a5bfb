"""Attention on crossbars against torch's own, and whether anything goes past the crossbars."""

import copy
import io
import itertools
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

import mho
from mho import ADC, DAC, Array, Hardware
from mho.effects import PowerLawDrift, ReadNoise, StuckAt, WriteNoise

IDEAL = Hardware()
PATHS = {
    "collapsed": IDEAL,
    "tiled": Hardware(array=Array(4, 3), effects=(ReadNoise(0.0),), bias="array"),
}
paths = pytest.mark.parametrize("path", PATHS)
quiet = pytest.mark.filterwarnings("ignore:left digital", "ignore:.*nested", "ignore:Support for")
T = torch.float64


def attention(**options):
    options = {"embed_dim": 8, "num_heads": 2, "dtype": T, **options}
    layer = nn.MultiheadAttention(**options)
    for name, p in layer.named_parameters():
        if "bias" in name:
            nn.init.normal_(p)
    return layer


def inputs(layer, batch=3, targets=4, sources=5):
    sizes = {"query": layer.embed_dim, "key": layer.kdim, "value": layer.vdim}
    found = {}
    for name, width in sizes.items():
        length = targets if name == "query" else sources
        if batch is None:
            shape = (length, width)
        else:
            shape = (batch, length, width) if layer.batch_first else (length, batch, width)
        found[name] = torch.randn(*shape, dtype=T)
    return found


def alike(found, wanted, tolerance=1e-10):
    assert len(found) == len(wanted) == 2
    assert (found[1] is None) == (wanted[1] is None)
    for y, w in zip(found, wanted, strict=True):
        if y is not None:
            assert y.shape == w.shape
            assert torch.allclose(y, w, rtol=tolerance, atol=tolerance, equal_nan=True)


OPTIONS = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"kdim": 6, "vdim": 5},
    {"kdim": 8, "vdim": 5, "bias": False, "batch_first": True},
    {"add_bias_kv": True},
    {"add_zero_attn": True, "batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": True, "kdim": 3, "vdim": 3},
    {"num_heads": 1},
    {"num_heads": 8, "embed_dim": 8},
]


@paths
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("batch", [3, None, 0])
def test_every_option_of_the_layer(path, options, batch):
    layer = attention(**options)
    analog = mho.convert(layer, PATHS[path])
    assert set(layer.state_dict()) <= set(analog.state_dict())
    given = inputs(layer, batch)
    for train, need in itertools.product((False, True), (False, True)):
        found = analog.train(train)(**given, need_weights=need)
        alike(found, layer.train(train)(**given, need_weights=need))
    plain = mho.collapse(analog.eval())
    assert type(plain) is nn.MultiheadAttention
    assert set(plain.state_dict()) == set(layer.state_dict())
    alike(plain(**given), layer.eval()(**given))


def masks():
    source = torch.Generator().manual_seed(3)
    hidden = torch.rand(4, 5, generator=source) < 0.3
    each = torch.rand(6, 4, 5, generator=source) < 0.3
    added = torch.randn(4, 5, generator=source, dtype=T)
    padding = torch.rand(3, 5, generator=source) < 0.3
    hidden[:, 0] = each[:, :, 0] = padding[:, 0] = False
    return {
        "none": {},
        "bool": {"attn_mask": hidden},
        "float": {"attn_mask": added},
        "bool of heads": {"attn_mask": each},
        "float of heads": {"attn_mask": added.repeat(6, 1, 1)},
        "padding": {"key_padding_mask": padding},
        "padding in numbers": {"key_padding_mask": padding.to(T) * -2.0},
        "both": {"attn_mask": hidden, "key_padding_mask": padding},
        "heads and padding": {"attn_mask": each, "key_padding_mask": padding},
        "causal": {"attn_mask": _causal(4, 5), "is_causal": True},
        "causal, padded": {
            "attn_mask": _causal(4, 5),
            "is_causal": True,
            "key_padding_mask": padding,
        },
        "one column alone": {"attn_mask": F.one_hot(torch.arange(4), 5) == 0},
    }


def _causal(targets, sources):
    return torch.ones(targets, sources, dtype=torch.bool).triu(1)


@paths
@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("options", [{}, {"batch_first": True, "add_bias_kv": True}], ids=str)
@pytest.mark.parametrize("mask", masks())
def test_every_mask(path, options, mask):
    layer = attention(**options).eval()
    analog = mho.convert(layer, PATHS[path])
    given = {**inputs(layer), **masks()[mask]}
    for need, average in ((False, True), (True, True), (True, False)):
        settings = {"need_weights": need, "average_attn_weights": average}
        alike(analog(**given, **settings), layer(**given, **settings))


def test_masks_without_a_batch():
    layer = attention(add_zero_attn=True).eval()
    analog = mho.convert(layer, IDEAL)
    given = inputs(layer, None)
    padding = torch.tensor([False, True, False, False, True])
    for attn_mask in (None, _causal(4, 5), _causal(4, 5).repeat(2, 1, 1)):
        settings = {"attn_mask": attn_mask, "key_padding_mask": padding}
        for average in (False, True):
            settings["average_attn_weights"] = average
            alike(analog(**given, **settings), layer(**given, **settings))


@pytest.mark.parametrize("need", [False, True])
def test_dropout_is_torch_s(need):
    layer = attention(dropout=0.5, batch_first=True).train()
    analog = mho.convert(layer, IDEAL)
    given = inputs(layer)
    outputs = []
    for model in (analog, layer):
        torch.manual_seed(5)
        outputs.append(model(**given, need_weights=need))
    alike(*outputs)
    analog.eval()
    alike(analog(**given), layer.eval()(**given))


def test_attention_by_the_book():
    """Written out for one head, without torch's layer."""
    analog = mho.nn.MultiheadAttention(4, 1, batch_first=True, dtype=T, hardware=IDEAL).eval()
    x = torch.randn(1, 3, 4, dtype=T)
    w_q, w_k, w_v = (getattr(analog, f"crossbar_{part}").weight for part in "qkv")
    scores = (x[0] @ w_q) @ (x[0] @ w_k).T / math.sqrt(4)
    shares = scores.exp() / scores.exp().sum(1, keepdim=True)
    wanted = shares @ (x[0] @ w_v) @ analog.out_proj.crossbar.weight
    found, weights = analog(x, x, x)
    assert torch.allclose(found[0], wanted)
    assert torch.allclose(weights[0], shares)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"query": torch.randn(4, 3, 7, dtype=T)}, ValueError, "query"),
        ({"key": torch.randn(5, 8, dtype=T)}, ValueError, "dimensions"),
        ({"key": torch.randn(6, 3, 8, dtype=T)}, ValueError, "value must have as many"),
        ({"query": torch.randn(4, 2, 8, dtype=T)}, ValueError, "batch"),
        ({"query": [1.0]}, TypeError, "query"),
        ({"attn_mask": torch.zeros(5, 4, dtype=torch.bool)}, ValueError, "attn_mask"),
        ({"attn_mask": torch.zeros(4, 5, dtype=torch.int64)}, TypeError, "attn_mask"),
        ({"key_padding_mask": torch.zeros(5, 3, dtype=torch.bool)}, ValueError, "key_padding"),
        ({"is_causal": True}, ValueError, "attn_mask must be given"),
    ],
)
def test_wrong_inputs_are_refused(change, error, word):
    layer = attention()
    analog = mho.convert(layer, IDEAL)
    with pytest.raises(error, match=word):
        analog(**{**inputs(layer), **change})


@quiet
def test_nested_tensors_are_refused():
    analog = mho.convert(attention(batch_first=True).eval(), IDEAL)
    x = torch.nested.nested_tensor([torch.randn(2, 8), torch.randn(3, 8)])
    with pytest.raises(TypeError, match="to_padded_tensor"):
        analog(x, x, x)


# ── nothing reads digital weights past the crossbars ─────────────────────────────────────────


def shrunk(analog, factor=0.0):
    """Change what all cells hold, and not the digital weights."""
    for crossbar in mho.crossbars(analog).values():
        crossbar.store(crossbar.G, scale=crossbar.scale * factor)
    return analog


def without_weights(model):
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in twin.named_parameters():
            if p.dim() > 1 and "bias" not in name:
                p.zero_()
    return twin


CONTEXTS = {
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@quiet
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_transformer_encoder_reads_its_crossbars(context, norm_first, masked, frozen):
    kind = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    layer = nn.TransformerEncoderLayer(8, 2, 16, **kind)
    model = nn.TransformerEncoder(layer, 2).eval().requires_grad_(not frozen)
    analog = mho.convert(model, IDEAL).eval()
    x, padding = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    more = {"src_key_padding_mask": padding} if masked else {}
    bare = without_weights(model)
    for p in bare.parameters():
        p.requires_grad_(True)
    wanted = bare.train()(x, **more)  # train mode takes the plain Python path
    with torch.no_grad():
        digital = model(x, **more)
    with CONTEXTS[context]():
        found = shrunk(analog)(x, **more)
    keep = ~padding if masked else torch.ones_like(padding)
    tolerance = 0.05 if context == "autocast" else 1e-5
    assert torch.allclose(found.float()[keep], wanted[keep], atol=tolerance)
    assert not torch.allclose(found.float()[keep], digital.float()[keep], atol=0.3)


@quiet
@pytest.mark.parametrize("context", CONTEXTS)
def test_attention_alone_reads_its_crossbars(context):
    layer = attention(batch_first=True, dtype=torch.float32).eval().requires_grad_(False)
    for by_hand in (False, True):
        analog = mho.convert(layer, IDEAL)
        if by_hand:  # in a stack that mho.convert has not seen
            stack = nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True).eval()
            stack.requires_grad_(False)
            stack.self_attn = analog
            stack.norm1, stack.linear2 = nn.Identity(), nn.Linear(8, 8)
            nn.init.zeros_(stack.linear2.weight)
            nn.init.zeros_(stack.linear2.bias)
            stack.norm1.eps = stack.norm2.eps
            stack.norm1.weight = stack.norm1.bias = stack.norm2.weight
            stack.norm2 = nn.Identity()
            stack.norm2.eps, stack.norm2.weight = 1e-5, stack.norm1.weight
            stack.norm2.bias = stack.norm1.weight
        x = torch.randn(2, 3, 8)
        shrunk(analog)
        with CONTEXTS[context]():
            y = stack(x) - x if by_hand else analog(x, x, x, need_weights=False)[0]
        assert torch.allclose(y.float(), layer.out_proj.bias.expand_as(y), atol=0.05)


@quiet
def test_linear_layers_alone_are_read():
    """Attention left digital, the rest on crossbars: the fused kernel would read all weights."""
    model = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True).eval()
    analog = mho.convert(model, IDEAL, skip=nn.MultiheadAttention)
    assert set(mho.layers(analog)) == {"linear1", "linear2"}
    x = torch.randn(2, 3, 8)
    with torch.inference_mode():
        assert torch.allclose(analog(x), model(x), atol=1e-5)
        assert not torch.allclose(shrunk(analog)(x), model(x), atol=0.1)


@quiet
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_whole_transformer(batch_first):
    model = nn.Transformer(8, 2, 2, 2, 16, dropout=0.2, batch_first=batch_first, dtype=T)
    src, tgt = torch.randn(3, 3, 8, dtype=T), torch.randn(3, 3, 8, dtype=T)
    mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=T)
    padding = torch.tensor([[False] * 3, [False, False, True], [False] * 3])
    settings = {"tgt_mask": mask, "tgt_is_causal": True, "src_key_padding_mask": padding}
    settings["memory_key_padding_mask"] = padding
    for hardware in PATHS.values():
        analog = mho.convert(model, hardware)
        assert len(mho.crossbars(analog)) == 2 * 6 + 2 * 10
        left = {item.kind for item in mho.summary(analog).digital}
        assert left == {"LayerNorm"}
        for train in (False, True):
            outputs = []
            for each in (analog, model):
                torch.manual_seed(2)
                outputs.append(each.train(train)(src, tgt, **settings))
            if not train:  # what torch's fused kernel gives padded places is no matter
                continue
            assert torch.allclose(*outputs, atol=1e-9)


# ── its life ─────────────────────────────────────────────────────────────────────────────────

USUAL = Hardware(
    array=Array(5, 4),
    dac=DAC(6),
    adc=ADC(7),
    effects=(WriteNoise(0.02), ReadNoise(0.02), PowerLawDrift(0.05), StuckAt(low=0.05)),
)


@quiet
def test_selection_takes_it_whole():
    model = nn.TransformerDecoderLayer(8, 2, 8)
    chosen = mho.convert(model, IDEAL, only="self_attn")
    assert set(mho.layers(chosen)) == {"self_attn", "self_attn.out_proj"}
    chosen = mho.convert(model, IDEAL, skip="self_attn")
    assert not any(name.startswith("self_attn") for name in mho.layers(chosen))
    other = IDEAL.replace(array=Array(16, 16))
    chosen = mho.convert(model, IDEAL, overrides={"multihead_attn": other, "linear*": None})
    found = {name: c.hardware.array.rows for name, c in mho.crossbars(chosen).items()}
    assert found == {
        **{f"self_attn.{part}": 128 for part in ("crossbar_q", "crossbar_k", "crossbar_v")},
        **{f"multihead_attn.{p}": 16 for p in ("crossbar_q", "crossbar_k", "crossbar_v")},
        **{"self_attn.out_proj": 128, "multihead_attn.out_proj": 16},
    }
    with pytest.raises(ValueError, match="matches no module"):
        mho.convert(model, IDEAL, only="self_attn.out_proj")


def test_convert_again_keeps_weights_and_changes_hardware():
    layer = attention(batch_first=True)
    chip = mho.convert(layer, USUAL)
    again = mho.convert(chip, IDEAL)
    given = inputs(layer)
    alike(again.eval()(**given), layer.eval()(**given))
    assert again.out_proj.hardware is IDEAL
    assert chip.out_proj.hardware is USUAL


def test_made_directly_it_is_programmed_whole():
    made = mho.nn.MultiheadAttention(8, 2, dtype=T, hardware=USUAL, seed=4).eval()
    assert set(made.program()) == {"crossbar_q", "crossbar_k", "crossbar_v", "out_proj"}
    assert len(mho.program(made)) == 4
    counts = {int(c.writes.max()) for c in mho.crossbars(made).values()}
    assert counts == {3}
    with torch.no_grad():
        made.out_proj.weight[0, 0] = torch.nan
    before = [c.G.clone() for c in mho.crossbars(made).values()]
    for write in (made.program, lambda: mho.program(made)):
        with pytest.raises(ValueError, match="finite"):
            write()
    after = [c.G for c in mho.crossbars(made).values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_stale_weights_are_mentioned_but_not_those_of_no_cell():
    analog = mho.convert(attention(add_bias_kv=True), PATHS["tiled"]).eval()
    given = inputs(analog)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        analog.bias_k.mul_(2.0)
        analog(**given)
    for change, name in ((analog.in_proj_weight, "in_proj_weight"), (analog.out_proj.bias, "bias")):
        with torch.no_grad():
            change.mul_(2.0)
        with pytest.warns(UserWarning, match=name):
            analog(**given)
        mho.program(analog)


def test_copies_pickles_and_state():
    layer = attention(kdim=6)
    analog = mho.convert(parametrizations.weight_norm(layer, "q_proj_weight"), USUAL).eval()
    mho.calibrate(analog, [inputs(layer)])
    given = inputs(layer)
    file = io.BytesIO()
    torch.save(analog, file)
    file.seek(0)
    twins = [copy.deepcopy(analog), torch.load(file, weights_only=False)]
    other = mho.convert(parametrizations.weight_norm(attention(kdim=6), "q_proj_weight"), USUAL)
    other.load_state_dict(analog.state_dict())
    wanted = analog(**given)
    for twin in (*twins, other.eval()):
        alike(twin(**given), wanted, 0.0)


@pytest.mark.parametrize("way", ["weight norm", "old weight norm", "pruned"])
def test_what_computes_the_joint_weight(way):
    layer = attention()
    if way == "pruned":
        prune.l1_unstructured(layer, "in_proj_weight", 0.4)
        prune.l1_unstructured(layer.out_proj, "weight", 0.4)
    else:
        norm = parametrizations.weight_norm if way == "weight norm" else weight_norm
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            norm(layer, "in_proj_weight")
    given = inputs(layer)
    wanted = layer.eval()(**given)
    analog = mho.convert(layer, IDEAL)
    for train in (False, True):
        alike(analog.train(train)(**given), wanted)
    analog.train()(**given)[0].sum().backward()
    assert all(p.grad is not None for p in analog.parameters())
    if way == "pruned":
        assert float((analog.crossbar_q.weight == 0).double().mean()) > 0.2
        analog.eval()(**given)
        with torch.no_grad():
            analog.in_proj_weight_mask.zero_()
        with pytest.warns(UserWarning, match="mho.program"):
            analog(**given)


class Counted(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * 1.0


@pytest.mark.parametrize("options", [{}, {"kdim": 4, "add_bias_kv": True}], ids=str)
def test_weights_are_computed_once_a_call(options):
    for hardware in PATHS.values():
        analog = mho.convert(attention(**options), hardware)
        counts = {}
        for layer in (analog, analog.out_proj):
            for name, _ in list(layer.named_parameters(recurse=False)):
                counts[name, layer] = Counted()
                parametrize.register_parametrization(layer, name, counts[name, layer])
                counts[name, layer].calls = 0
        given = inputs(analog)
        analog.train()(**given)
        assert {count.calls for count in counts.values()} == {1}


def test_one_training_call_is_one_chip():
    """A key given twice is projected alike: fabrication is drawn once for a call."""
    analog = mho.convert(attention(), Hardware(effects=(WriteNoise(0.2),))).train()
    given = inputs(analog, sources=4)
    given["key"][1] = given["key"][0]
    given["value"][1] = given["value"][0]
    weights = analog(**given, average_attn_weights=False)[1]
    assert torch.allclose(weights[..., 0], weights[..., 1])


def test_training_on_the_usual_hardware_learns():
    layer = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 8, 0.0), nn.Linear(8, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analog = mho.convert(layer, USUAL)
    x = torch.randn(6, 32, 8)
    target = x.roll(1, 0)[..., :1] - x[..., 1:2]
    mho.calibrate(analog, x)
    for crossbar in mho.crossbars(analog).values():
        crossbar.learn_ranges()
        crossbar.inject_noise(mho.train.NoiseInjection(noise=1.5))
    analog.train()
    optimizer = torch.optim.Adam(analog.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.mse_loss(analog(x), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(c.range_shift.grad is not None for c in mho.crossbars(analog).values())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_hooks_run_once_and_know_their_layer():
    layer, seen = attention(), []
    layer.register_forward_hook(lambda module, args, y: seen.append(type(module)))
    analog = mho.convert(layer, IDEAL)
    given = inputs(layer)
    analog(given["query"], given["key"], given["value"])
    assert seen == [mho.nn.MultiheadAttention]


def test_a_strange_output_projection_is_refused():
    layer = attention()

    class Scaled(nn.Linear):
        def forward(self, x):
            return 2.0 * super().forward(x)

    layer.out_proj = Scaled(8, 8)
    with pytest.raises(ValueError, match="out_proj is a Scaled"):
        mho.convert(layer, IDEAL)


@quiet
def test_an_output_projection_used_elsewhere_stays_one_layer():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention(dtype=torch.float32)
            self.head = self.attention.out_proj

        def forward(self, x):
            return self.head(self.attention(x, x, x)[0])

    for order in (("attention", "head"), ("head", "attention")):
        model = Model()
        model._modules = {name: model._modules[name] for name in order}
        analog = mho.convert(model, IDEAL)
        assert analog.head is analog.attention.out_proj
        x = torch.randn(3, 2, 8)
        assert torch.allclose(analog(x), model(x), atol=1e-5)
        assert len(mho.crossbars(analog)) == 4


def test_cost_counts_every_projection():
    layer = attention(batch_first=True, kdim=6).float()
    analog = mho.convert(layer, Hardware(adc=ADC(8), dac=DAC(8)))
    given = {k: v.float() for k, v in inputs(layer).items()}  # 3 × 4 queries, 3 × 5 keys
    cost = mho.analysis.cost(analog, [given])
    reads = {part.name: part.reads for part in cost.layers}
    assert reads == {"crossbar_q": 4, "crossbar_k": 5, "crossbar_v": 5, "out_proj": 4}


def test_on_a_chip():
    layer = attention(dtype=torch.float32)
    hardware = Hardware(effects=(StuckAt(low=0.02),))
    analog = mho.convert(layer, hardware).eval()
    chip = mho.chip.Chip(200, 200, hardware, seed=1)
    chip.place(analog)
    assert all(c.on_chip for c in mho.crossbars(analog).values())
    given = {k: v.float() for k, v in inputs(layer).items()}
    assert bool(torch.isfinite(analog(**given)[0]).all())
    mho.fabricate(analog, 3)
    assert not any(c.on_chip for c in mho.crossbars(analog).values())


def test_gradients_of_inputs_in_eval():
    layer = attention(num_heads=2, embed_dim=4).eval()
    analog = mho.convert(layer, PATHS["tiled"])
    x = torch.randn(3, 1, 4, dtype=T, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: analog(v, v, v)[0], (x,))
