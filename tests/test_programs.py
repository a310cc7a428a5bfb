"""Models as users write them, each against the same model on plain torch."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mho
from programs import IDEAL, NOISY, USUAL, Language, alike, apart

pytestmark = pytest.mark.filterwarnings(
    "ignore:left digital", "ignore:The PyTorch API of nested", "ignore:LSTM with proj"
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Block(nn.Module):
    """A transformer block of one's own, with masks and its attention's weights."""

    def __init__(self, width=16, heads=4):
        super().__init__()
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x, mask=None, padding=None):
        h = self.norms[0](x)
        h, weights = self.attend(
            h, h, h, attn_mask=mask, key_padding_mask=padding, average_attn_weights=False
        )
        x = x + h
        return x + self.feed(self.norms[1](x)), weights


@pytest.mark.parametrize("training", [False, True])
def test_own_transformer(training):
    model = Block().train(training)
    analog = mho.convert(model, IDEAL).train(training)
    x = torch.randn(3, 7, 16)
    mask = torch.ones(7, 7, dtype=torch.bool).triu(1)
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[0, 5:] = True
    for found, expected in zip(analog(x, mask, padding), model(x, mask, padding), strict=True):
        alike(found, expected)
    if training:
        analog(x, mask, padding)[0].square().sum().backward()
        model(x, mask, padding)[0].square().sum().backward()
        ours = dict(analog.named_parameters())
        for name, parameter in model.named_parameters():
            alike(ours[name].grad, parameter.grad, 1e-4)


def test_encoder_with_padded_sequences():
    """Where torch takes nested tensors and a fused kernel, crossbars read padded ones."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    analog = mho.convert(model, IDEAL).eval()
    x, padding = torch.randn(3, 7, 16), torch.zeros(3, 7, dtype=torch.bool)
    padding[0, 5:] = padding[1, 3:] = True
    with torch.no_grad():
        found, expected = (m(x, src_key_padding_mask=padding) for m in (analog, model))
    alike(found[~padding], expected[~padding])


def test_greedy_decoding():
    model = nn.Transformer(16, 4, 1, 1, 32, batch_first=True).eval()
    analog = mho.convert(model, IDEAL).eval()
    source = torch.randn(2, 6, 16)

    def decode(m):
        memory, said = m.encoder(source), torch.zeros(2, 1, 16)
        for _ in range(4):
            mask = m.generate_square_subsequent_mask(said.shape[1])
            next_one = m.decoder(said, memory, tgt_mask=mask, tgt_is_causal=True)[:, -1:]
            said = torch.cat([said, next_one], 1)
        return said

    with torch.no_grad():
        alike(decode(analog), decode(model))


def test_generator_and_discriminator():
    generator = nn.Sequential(
        nn.ConvTranspose2d(8, 16, 3, 2, 1, output_padding=1, groups=4, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 4, 2, 1),
        nn.Tanh(),
    ).eval()
    z = torch.randn(4, 8, 5, 5)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given = z.to(memory_format=memory_format)
        found, expected = mho.convert(generator, IDEAL).eval()(given), generator(given)
        alike(found, expected)
        assert found.stride() == expected.stride()

    makes = mho.convert(generator, NOISY).train()
    judge = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Flatten(), nn.Linear(800, 1))
    judges = mho.convert(judge, NOISY).train()
    optimizer = torch.optim.Adam(makes.parameters(), lr=1e-2)
    before = copy.deepcopy(makes.state_dict())
    for _ in range(2):
        optimizer.zero_grad()
        F.softplus(-judges(makes(z))).mean().backward()
        optimizer.step()
    assert all(not torch.equal(p, before[name]) for name, p in makes.named_parameters())
    mho.program(makes)
    assert makes.eval()(z).shape == (4, 3, 20, 20)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(
            [nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, padding=1)]
        )
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 1, 1)

    def forward(self, x):
        fine = F.relu(self.down[0](x))
        coarse = F.relu(self.down[1](fine))
        return self.out(torch.cat([fine, F.relu(self.up(coarse))], 1))


def test_u_net_trains_as_torch_does():
    model, image = UNet(), torch.randn(2, 1, 8, 8)
    analog = mho.convert(model, IDEAL)
    for net in (model.train(), analog.train()):
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(5):
            optimizer.zero_grad()
            F.mse_loss(net(image), image).backward()
            optimizer.step()
    alike(analog(image), model(image), 1e-4)
    with pytest.warns(UserWarning, match="has changed since it was programmed"):
        stale = analog.eval()(image)
    assert apart(stale, model(image)) > 1e-3
    mho.program(analog)
    alike(analog(image), model(image), 1e-4)


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(50, 8, mode="sum")
        self.score = nn.Bilinear(8, 8, 3)

    def forward(self, items, weights):
        user = self.bag(items, per_sample_weights=weights)
        return self.score(user, user)


def test_recommender():
    model = Recommender()
    analog = mho.convert(model, IDEAL, embeddings=True)
    items, ratings = torch.randint(50, (6, 4)), torch.rand(6, 4) - 0.5
    alike(analog.eval()(items, ratings), model(items, ratings))
    grads = []
    for net in (analog.train(), model):
        given = ratings.clone().requires_grad_()
        net(items, given).square().sum().backward()
        grads.append((given.grad, net.bag.weight.grad, net.score.weight.grad))
    for found, expected in zip(*grads, strict=True):
        alike(found, expected, 1e-4)


def test_recurrent_forecaster_on_packed_sequences():
    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 8, 2, batch_first=True, bidirectional=True, proj_size=3)
            self.gru, self.out = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 1)

        def forward(self, x):
            return self.out(self.gru(self.lstm(x)[0])[0][:, -1])

    model, x = Forecaster().eval(), torch.randn(4, 9, 4)
    analog = mho.convert(model, IDEAL)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([9, 7, 3, 1]), batch_first=True)
    for training in (False, True):
        analog.train(training)
        alike(analog(x), model(x))
        alike(analog.lstm(packed)[0].data, model.lstm(packed)[0].data)
    noisy = mho.convert(model, NOISY)
    mho.calibrate(noisy, x)
    assert noisy.eval()(x).isfinite().all()


class Gated(nn.Module):
    """A layer that mho does not know: a matrix, and a gain for each output."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.w = nn.Parameter(torch.randn(outputs, inputs))
        self.gain = nn.Parameter(torch.rand(outputs))

    def forward(self, x):
        return F.linear(x, self.w) * self.gain


class AnalogGated(mho.nn.AnalogLayer):
    kind = Gated

    def matrices(self):
        return {"crossbar": self.w.T}

    def forward(self, x):
        return self.read("crossbar", x) * self.gain

    def to_digital(self):
        layer = Gated(*self.crossbar.effective_weight.shape)
        matrix = self.crossbar.effective_weight * self.crossbar.gain
        layer.w = nn.Parameter(matrix.T.detach().clone())
        layer.gain = nn.Parameter(self.gain.detach().clone())
        return layer


@pytest.mark.filterwarnings("ignore:.*no crossbar layer for this type")
def test_a_registered_layer_lives_as_others_do():
    model, x = nn.Sequential(Gated(20, 8), nn.Linear(8, 4)), torch.randn(5, 20)
    with mho.nn.register(AnalogGated):
        analog = mho.convert(model, IDEAL)
        for training in (False, True):
            alike(analog.train(training)(x), model(x))
        for net in (analog, model):
            net(x).square().sum().backward()
        alike(analog[0].w.grad, model[0].w.grad, 1e-4)
        alike(mho.collapse(analog)(x), model(x))
        with torch.device("meta"):
            empty = nn.Sequential(Gated(20, 8), nn.Linear(8, 4))
        later = mho.convert(empty, IDEAL)
        later.load_state_dict(model.state_dict(), assign=True)
        mho.program(later)
        alike(later.eval()(x), model(x))
        assert mho.estimate(model, USUAL, x).tiles == 2 * 8
        half = mho.convert(model.to(torch.bfloat16), USUAL, program=False).train()
        half(x.bfloat16()).sum().backward()
        mho.program(half)
        assert half.eval()(x.bfloat16()).dtype == torch.bfloat16
    plain = mho.convert(model, IDEAL)
    assert list(mho.crossbars(plain)) == ["1"]


def test_adapters_on_a_stored_chip():
    peft = pytest.importorskip("peft")
    chip, tokens = mho.convert(Language(), NOISY, seed=3), torch.randint(30, (16,))
    mho.calibrate(chip, tokens)
    mho.freeze(chip)
    cells = {name: c.G.clone() for name, c in mho.crossbars(chip).items()}
    config = peft.LoraConfig(r=4, target_modules=["mix", "head"])
    tuned = peft.get_peft_model(chip, mho.nn.adapters.know_crossbars(config)).train()
    optimizer = torch.optim.Adam([p for p in tuned.parameters() if p.requires_grad], lr=5e-2)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(loss := F.cross_entropy(tuned(tokens), tokens))
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
    left = mho.crossbars(tuned).values()
    assert all(torch.equal(c.G, g) for c, g in zip(left, cells.values(), strict=True))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_generation(name):
    hf = pytest.importorskip("transformers")
    small = {"vocab_size": 32, "bos_token_id": 0, "eos_token_id": 31, "pad_token_id": 0}
    if name == "gpt2":
        config = hf.GPT2Config(n_positions=16, n_embd=16, n_layer=1, n_head=2, **small)
        model = hf.GPT2LMHeadModel(config).eval()
    else:
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**shape, **heads, **small)).eval()
    analog = mho.convert(model, IDEAL, embeddings=True).eval()
    ids = torch.randint(1, 31, (2, 4))
    alike(analog(ids).logits, model(ids).logits)
    settings = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 6, "do_sample": False}
    assert torch.equal(analog.generate(ids, **settings), model.generate(ids, **settings))
    assert torch.equal(
        analog.generate(ids, num_beams=2, **settings), model.generate(ids, num_beams=2, **settings)
    )


def test_architectures_of_hugging_face():
    """Experts, state spaces, an encoder with a decoder, patches: each against its digital self."""
    hf = pytest.importorskip("transformers")
    ids = torch.randint(1, 31, (2, 5))
    width = {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 32}
    deep = {**width, "intermediate_size": 32, "num_attention_heads": 2}
    sides = {
        f"{side}_{name}": n
        for side in ("encoder", "decoder")
        for name, n in (("layers", 1), ("ffn_dim", 32), ("attention_heads", 2))
    }
    image = {"image_size": 16, "patch_size": 8, "embed_dim": 8, "window_size": 1}
    models = (
        hf.MixtralForCausalLM(hf.MixtralConfig(**deep, num_key_value_heads=1, num_local_experts=2)),
        hf.MambaForCausalLM(hf.MambaConfig(**width, state_size=4)),
        hf.BertForMaskedLM(hf.BertConfig(**deep)),
        hf.BartForConditionalGeneration(hf.BartConfig(d_model=16, vocab_size=32, **sides)),
    )
    for model in models:
        analog = mho.convert(model.eval(), IDEAL, embeddings=True)
        alike(analog.eval()(input_ids=ids).logits, model(input_ids=ids).logits)
        analog.train()(input_ids=ids).logits.sum().backward()
        trained = [p for p in analog.parameters() if p.grad is not None]
        assert len(trained) > 5
        assert all(p.grad.isfinite().all() for p in trained)
    swin = hf.SwinConfig(depths=[1], num_heads=[2], **image)
    model, x = hf.SwinForImageClassification(swin).eval(), torch.randn(2, 3, 16, 16)
    alike(mho.convert(model, IDEAL).eval()(x).logits, model(x).logits)
