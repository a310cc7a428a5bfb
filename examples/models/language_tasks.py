"""A tiny language model on chips, scored by the lm-evaluation-harness as a year passes.

    python examples/models/language_tasks.py [--quick] [--chips 3] [--steps 400] [--out FOLDER]

Everything is made here: a grammar in which every noun has its own verb, a Llama-style decoder that
learns it, and two tasks over files of this machine: the verb that follows (multiple choice), and
the perplexity of unseen sentences. Needs ``pip install "mho[lm-eval]"``.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import matplotlib.pyplot as plt
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import mho
from mho.plot import style
from mho.study import language_tasks

sys.path.insert(0, str(Path(__file__).parents[1]))
from example_options import parsed, save_figure

PAIRS = {
    "bird": "sings",
    "child": "laughs",
    "clock": "ticks",
    "dog": "barks",
    "door": "creaks",
    "fire": "burns",
    "river": "flows",
    "star": "shines",
    "train": "rolls",
    "wind": "blows",
}
WHEN = ("always", "often", "today", "again", "outside", "quietly")
SECONDS = {"hour": 3600.0, "month": 30 * 86400.0, "year": 365.25 * 86400.0}


def sentence(draw: random.Random) -> tuple[str, str]:
    """Return the beginning of a sentence, and the one verb that goes on."""
    noun = draw.choice(list(PAIRS))
    other = draw.choice(list(PAIRS))
    return f"the {noun} near the {other} {draw.choice(WHEN)}", PAIRS[noun]


def words() -> PreTrainedTokenizerFast:
    """Return a tokenizer of the grammar's words."""
    known = ["<s>", "<unk>", "the", "near", ".", *PAIRS, *PAIRS.values(), *WHEN]
    model = Tokenizer(WordLevel({word: i for i, word in enumerate(known)}, unk_token="<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="<s>", pad_token="<s>", unk_token="<unk>"
    )


def learned(tokenizer: PreTrainedTokenizerFast, steps: int) -> LlamaForCausalLM:
    """Train a decoder of two blocks on the grammar."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    draw = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        lines = [" ".join(("<s>", *sentence(draw), ".")) for _ in range(32)]
        tokens = tokenizer(lines, return_tensors="pt").input_ids
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
    return model.eval()


def tasks(folder: Path, documents: int) -> list[dict]:
    """Write unseen sentences to files, and say how the harness scores them."""
    draw = random.Random(1)
    found = [sentence(draw) for _ in range(documents)]
    verbs = list(PAIRS.values())
    choice = [{"text": text, "verb": verbs.index(verb)} for text, verb in found]
    whole = [{"text": f"{text} {verb} ."} for text, verb in found]
    for name, rows in (("choice", choice), ("whole", whole)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")

    def local(name: str) -> dict:
        files = {"test": str(folder / f"{name}.jsonl")}
        return {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}

    verb = {
        "task": "verb",
        **local("choice"),
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": verbs,
        "doc_to_target": "verb",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    perplexity = {
        "task": "sentences",
        **local("whole"),
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}],
    }
    return [verb, perplexity]


def main() -> None:
    """Train, convert, score."""
    more = {
        "--chips": {"type": int, "help": "Monte-Carlo chips (3)"},
        "--steps": {"type": int, "default": 400, "help": "of training (400)"},
        "--documents": {"type": int, "help": "of each task (200)"},
    }
    options = parsed(__doc__, "language_tasks", quick="two chips, fewer documents", more=more)
    documents = options.documents or (40 if options.quick else 200)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tokenizer = words()
    model = learned(tokenizer, options.steps)
    hardware = mho.Hardware(device=mho.devices.PCM(), dac=mho.DAC(bits=8), adc=mho.ADC(bits=8))
    draw = random.Random(2)
    lines = [" ".join(("<s>", *sentence(draw), ".")) for _ in range(64)]
    inputs = [{"input_ids": tokenizer(lines, return_tensors="pt").input_ids}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # embeddings and norms stay digital
        analog = mho.convert(model, hardware)
    with tempfile.TemporaryDirectory() as folder:
        scores = language_tasks(
            model,
            analog,
            tokenizer,
            tasks(Path(folder), documents),
            seeds=range(options.chips or (2 if options.quick else 3)),
            times=(0.0, *SECONDS.values()),
            before=lambda chip: mho.calibrate(chip, inputs),
            label="chips",
        )
    print(scores)
    draw_scores(scores, options.out / "language_tasks.png")


def draw_scores(scores, path: Path) -> None:
    """Draw every score over the time since programming: mean of the chips, and a band."""
    times = ("programmed", *SECONDS)
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
        for k, (ax, name) in enumerate(zip(panels, scores.names, strict=True)):
            values = scores.chips[:, :, k]
            mean, spread = values.mean(0), values.std(0, unbiased=len(values) > 1)
            ax.errorbar(times, mean, spread, fmt="o-", capsize=3, label="on chips")
            ax.axhline(float(scores.digital[k]), linestyle=":", color="grey", label="digital")
            ax.set(title=name, xlabel="time since programming")
        panels[0].legend()
        save_figure(figure, path)


if __name__ == "__main__":
    main()
