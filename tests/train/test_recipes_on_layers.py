"""Recipes on layers whose weights are stored in other ways than a linear layer's."""

import copy
import io

import pytest
import torch
from torch import nn

import mho
from mho.train import InputRangeRule, Recipe, recipes

CELLS = mho.Hardware(device=mho.devices.PCM(), array=mho.Array(64, 64))


def uneven(layer):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter) * torch.rand_like(parameter) ** 4)
    return layer.double()


@pytest.mark.parametrize("bias", ["digital", "array"])
@pytest.mark.parametrize(
    ("make", "groups"),
    [
        (lambda: nn.Linear(9, 6), 1),
        (lambda: nn.Bilinear(9, 3, 4), 1),
        (lambda: nn.ConvTranspose2d(8, 6, 3, groups=2), 2),
        (lambda: nn.Conv1d(8, 6, 3, groups=2), 2),
        (lambda: nn.Embedding(12, 5), 1),
        (lambda: pytest.importorskip("transformers.pytorch_utils").Conv1D(6, 9), 1),
    ],
)
def test_columns_are_those_of_the_matrix(make, groups, bias):
    """Whatever way a layer stores it: the deviation is over what lies on one bit line."""
    recipe = Recipe(clip=1.1, clip_of="column")
    layer = nn.Sequential(uneven(make()))
    if bias == "array" and not hasattr(layer[0], "in_features") and not hasattr(layer[0], "nx"):
        pytest.skip("no bias on the array, or one that groups have")
    analog = recipe.prepare(layer, mho.Hardware(bias=bias), embeddings=True)
    rows = -1 if bias == "array" else None  # the bias is no part of what is clipped
    before = analog[0].matrices()["crossbar"].detach().clone().unflatten(0, (groups, -1))
    recipe.after_step(analog)
    after = analog[0].matrices()["crossbar"].detach().unflatten(0, (groups, -1))
    bound = 1.1 * before[:, :rows].std(1, keepdim=True)
    torch.testing.assert_close(after[:, :rows], before[:, :rows].clamp(-bound, bound))
    assert not torch.equal(after, before)


@pytest.mark.parametrize("of", ["layer", "column"])
def test_what_attention_keeps_digital_is_not_clipped(of):
    recipe = Recipe(clip=0.5, clip_of=of)
    layer = nn.MultiheadAttention(8, 2, add_bias_kv=True)
    analog = recipe.prepare(layer, mho.Hardware())
    recipe.after_step(analog)
    assert torch.equal(analog.bias_k, layer.bias_k)
    assert torch.equal(analog.bias_v, layer.bias_v)
    assert not torch.equal(analog.in_proj_weight, layer.in_proj_weight)


class Words(nn.Module):
    def __init__(self, tied):
        super().__init__()
        self.words, self.head = nn.Embedding(20, 16), nn.Linear(16, 20, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, index):
        return self.head(torch.tanh(self.words(index)))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ["analog_foundation_model", "rasch_2023", "analognets"])
def test_embeddings_train_and_serve(name, tied):
    torch.manual_seed(0)
    recipe, index = recipes.named(name), torch.randint(20, (8, 5))
    analog = recipe.prepare(Words(tied), recipe.hardware(CELLS), index, embeddings=True)
    optimizer = torch.optim.AdamW(analog.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(analog(index).flatten(0, 1), index.flatten())
        loss.backward()
        optimizer.step()
        recipe.after_step(analog)
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])
    recipe.finish(analog)
    # In another process: the state alone, aged, compensated.
    kept = io.BytesIO()
    torch.save(analog.state_dict(), kept)
    kept.seek(0)
    fresh = mho.convert(Words(tied), recipe.hardware(CELLS), embeddings=True).eval()
    fresh.load_state_dict(torch.load(kept, weights_only=True))
    again = copy.deepcopy(fresh)
    assert torch.equal(fresh(index), again(index))
    mho.age(fresh, 1e6)
    mho.compensate(fresh)
    assert torch.isfinite(fresh(index)).all()


def test_an_embedding_may_learn_a_range_that_nothing_moves():
    """A lookup drives one line with 1: whatever the rule, that is its range."""
    hardware = recipes.ANALOG_FOUNDATION_MODEL.hardware(mho.Hardware())
    analog = mho.convert(nn.Embedding(6, 4), hardware, embeddings=True).train()
    analog.crossbar.learn_ranges(InputRangeRule())
    y = analog(torch.arange(6))
    torch.testing.assert_close(y, analog.weight, rtol=0, atol=0.2)
    assert torch.isfinite(y).all()


def test_ranges_are_not_calibrated_where_nothing_is_stored():
    recipe = recipes.ANALOGNETS
    with pytest.raises(ValueError, match="program=False"):
        recipe.prepare(nn.Linear(4, 3), recipe.hardware(CELLS), torch.randn(5, 4), program=False)
    learns = recipes.ANALOG_FOUNDATION_MODEL
    analog = learns.prepare(nn.Linear(4, 3), learns.hardware(CELLS), program=False)
    analog(torch.randn(5, 4)).sum().backward()
    learns.finish(analog)
    assert torch.isfinite(analog(torch.randn(5, 4))).all()


@pytest.mark.parametrize("of", ["layer", "column"])
def test_frozen_weights_are_not_clipped(of):
    recipe = Recipe(clip=0.5, clip_of=of)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    model[0].weight.requires_grad_(False)
    analog = recipe.prepare(model, mho.Hardware())
    recipe.after_step(analog)
    assert torch.equal(analog[0].weight, model[0].weight)
    assert not torch.equal(analog[1].weight, model[1].weight)


def test_recipes_that_differ_in_numbers_compile_one_after_the_other():
    torch._dynamo.reset()
    x = torch.randn(6, 4)
    for rule in (InputRangeRule(decay=0.01), InputRangeRule(decay=0.5, batches=9, deviations=2.0)):
        recipe = Recipe(ranges=rule, periphery=recipes.RASCH_2023.periphery)
        analog = recipe.prepare(nn.Linear(4, 3), recipe.hardware(mho.Hardware()))
        torch.manual_seed(0)
        torch.compile(analog, backend="eager", fullgraph=True)(x).sum().backward()
        compiled = analog.crossbar.learned_range.grad.clone()
        twin = recipe.prepare(nn.Linear(4, 3), recipe.hardware(mho.Hardware()))
        twin.load_state_dict(analog.state_dict())
        twin.crossbar.range_batches.zero_()
        torch.manual_seed(0)
        twin(x).sum().backward()
        wanted = twin.crossbar.learned_range.grad
        torch.testing.assert_close(compiled, wanted, rtol=1e-5, atol=1e-6)
