"""Scores of the lm-evaluation-harness on chips, against scores computed here."""

import random
import sys
from pathlib import Path

import pytest
import torch

import mho

pytest.importorskip("lm_eval")
pytest.importorskip("transformers")
FOLDER = Path(__file__).parent.parent / "examples" / "models"
BEFORE = list(sys.path)
sys.path.insert(0, str(FOLDER))
import language_tasks as example  # noqa: E402

sys.path[:] = BEFORE
from mho.study import language_model, language_tasks  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*digital:UserWarning")]
DOCUMENTS = 24


@pytest.fixture(scope="module")
def trained():
    tokenizer = example.words()
    return tokenizer, example.learned(tokenizer, 60)


def right(model, tokenizer):
    """Choose the likeliest verb of every document, with nothing but the model."""
    draw = random.Random(1)
    verbs = tokenizer.convert_tokens_to_ids(list(example.PAIRS.values()))
    hits = 0
    for text, verb in (example.sentence(draw) for _ in range(DOCUMENTS)):
        tokens = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            scores = model(input_ids=tokens).logits[0, -1, verbs]
        hits += list(example.PAIRS.values())[int(scores.argmax())] == verb
    return hits / DOCUMENTS


def test_scores_are_those_computed_here_and_noise_costs_some(trained, tmp_path):
    tokenizer, model = trained
    hardware = mho.Hardware(effects=(mho.effects.WriteNoise(0.5),))
    for kind in (mho.Hardware(), hardware):
        analog = mho.convert(model, kind)
        found = language_tasks(
            model, analog, tokenizer, example.tasks(tmp_path, DOCUMENTS), seeds=[1], times=(0, 1e6)
        )
        assert found.names == ("verb acc", "sentences word_perplexity")
        assert found.chips.shape == (1, 2, 2)
        assert float(found.digital[0]) == pytest.approx(right(model, tokenizer))
        if kind is hardware:
            assert float(found.chips[0, 0, 1]) > 1.05 * float(found.digital[1])
        else:
            torch.testing.assert_close(found.chips[0, 0], found.digital, rtol=1e-4, atol=0)
    assert "word_perplexity" in str(found)
    assert "1 chip" in str(found)


def test_what_is_no_language_model_is_refused(trained):
    tokenizer, model = trained
    with pytest.raises(TypeError, match="model"):
        language_model(torch.nn.Linear(2, 2), tokenizer)
    analog = mho.convert(model, mho.Hardware())
    with pytest.raises(ValueError, match="at least one task"):
        language_tasks(model, analog, tokenizer, [], seeds=[1])
    with pytest.raises(ValueError, match="times must rise from 0"):
        language_tasks(model, analog, tokenizer, ["x"], seeds=[1], times=(1.0,))
