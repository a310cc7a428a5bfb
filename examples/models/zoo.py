"""The models that the zoo puts on crossbars, built from their configurations: nothing is loaded.

Those of Hugging Face need ``pip install "mho[hf]"``. ``small`` ones have the same layers, fewer and
narrower, and are built in a moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Entry:
    """A model of the zoo.

    Attributes:
        name: as tables show it.
        build: makes the model, small or of its published size.
        inputs: makes keyword arguments of one call, from a batch size, for a small model or not.
        output: takes the tensor that is compared from what the model returns.
        needs: the package beside torch, or None.
    """

    name: str
    build: Callable[[bool], nn.Module]
    inputs: Callable[[int, bool], dict[str, Tensor]]
    output: Callable[[Any], Tensor]
    needs: str | None = None


class Block(nn.Sequential):
    """Two convolutions of a U-Net, each normalised."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class UNet(nn.Module):
    """A U-Net: down with max pooling, up with transposed convolutions, features handed across.

    Source: O. Ronneberger, P. Fischer, T. Brox, 2015, doi 10.1007/978-3-319-24574-4_28.
    """

    def __init__(self, channels: int, depth: int, classes: int = 2) -> None:
        super().__init__()
        sizes = [channels * 2**level for level in range(depth + 1)]
        self.first = Block(3, sizes[0])
        self.down = nn.ModuleList(map(Block, sizes[:-1], sizes[1:]))
        ups = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(*size, 2, stride=2) for size in ups)
        self.join = nn.ModuleList(Block(*size) for size in ups)
        self.head = nn.Conv2d(sizes[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """From ``[batch, 3, height, width]`` to scores ``[batch, classes, height, width]``."""
        features = [self.first(image)]
        for block in self.down:
            features.append(block(nn.functional.max_pool2d(features[-1], 2)))
        x = features.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat((features.pop(), up(x)), dim=1))
        return self.head(x)


class Forecaster(nn.Module):
    """Two layers of LSTM over a window of several series, and the next values of all."""

    def __init__(self, series: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(series, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, series)

    def forward(self, window: Tensor) -> Tensor:
        """From ``[batch, time, series]`` to ``[batch, series]``."""
        return self.head(self.lstm(window)[0][:, -1])


class Translator(nn.Module):
    """`torch.nn.Transformer` between embeddings and a head of its own.

    Source: A. Vaswani et al., 2017, arXiv 1706.03762.
    """

    def __init__(self, words: int, width: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.transformer = nn.Transformer(
            width, width // 64, layers, layers, 4 * width, dropout=0.1, batch_first=True
        )
        self.head = nn.Linear(width, words)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """From words ``[batch, source]`` and ``[batch, target]`` to ``[batch, target, words]``."""
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1]).to(target.device)
        seen = self.embed(source), self.embed(target)
        return self.head(self.transformer(*seen, tgt_mask=mask, tgt_is_causal=True))


def _image(batch: int, small: bool, *, name: str = "pixel_values") -> dict[str, Tensor]:
    return {name: torch.randn(batch, 3, *([64, 64] if small else [224, 224]))}


def _words(batch: int, small: bool) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(4, 100, (batch, 12 if small else 128))}


def _pair(batch: int, small: bool) -> dict[str, Tensor]:
    time = 12 if small else 64
    return {k: torch.randint(4, 100, (batch, time)) for k in ("source", "target")}


def _window(batch: int, small: bool) -> dict[str, Tensor]:
    return {"window": torch.randn(batch, 24 if small else 168, 8)}


def _logits(found: Any) -> Tensor:
    return found.logits


def _itself(found: Tensor) -> Tensor:
    return found


def _resnet18(small: bool) -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = [16, 16, 32, 32] if small else [64, 128, 256, 512]
    depths = [1, 1, 1, 1] if small else [2, 2, 2, 2]
    config = ResNetConfig(
        embedding_size=sizes[0],
        hidden_sizes=sizes,
        depths=depths,
        layer_type="basic",
        num_labels=10 if small else 1000,
    )
    return ResNetForImageClassification(config)


def _mobilenet_v2(small: bool) -> nn.Module:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    size = {"depth_multiplier": 0.25, "image_size": 64, "num_labels": 10} if small else {}
    return MobileNetV2ForImageClassification(MobileNetV2Config(**size))


def _efficientnet_b0(small: bool) -> nn.Module:
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    size = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224}
    if small:
        size = {"width_coefficient": 0.25, "depth_coefficient": 0.25, "image_size": 64}
    hidden = 320 if small else 1280
    return EfficientNetForImageClassification(EfficientNetConfig(**size, hidden_dim=hidden))


def _vit_small(small: bool) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    size = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    if small:
        size = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}
        size |= {"num_hidden_layers": 2, "image_size": 64, "patch_size": 16, "num_labels": 10}
    return ViTForImageClassification(ViTConfig(**size))


def _bert(small: bool) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    size: dict[str, int] = {}
    if small:
        size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        size |= {"intermediate_size": 128, "vocab_size": 200}
    return BertForSequenceClassification(BertConfig(**size))


def _gpt2(small: bool) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    size: dict[str, int] = {}
    if small:
        size = {"n_layer": 2, "n_embd": 64, "n_head": 2, "vocab_size": 200}
        size |= {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**size))


def _llama(small: bool) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {"hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8}
    size |= {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 32000}
    if small:
        size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        size |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200}
    return LlamaForCausalLM(LlamaConfig(**size))


def _sizes(kind: type[nn.Module], small: dict[str, int], full: dict[str, int], is_small: bool):
    return kind(**(small if is_small else full))


def settled(model: nn.Module, inputs: dict[str, Tensor]) -> nn.Module:
    """Let a new convolutional network put out something; return it in ``eval()`` mode.

    Kernels begin as large as their inputs are few (K. He et al., 2015, arXiv 1502.01852) and batch
    normalisations take the statistics of a batch; as they come, deep ones put out next to nothing.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return model.eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_parameters()
        norm.momentum = None  # the mean over batches seen
    with torch.no_grad():
        model.train()(**inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


_OWN = {
    "U-Net": (UNet, {"channels": 8, "depth": 2}, {"channels": 32, "depth": 4}),
    "LSTM forecaster": (Forecaster, {"series": 8, "hidden": 32}, {"series": 8, "hidden": 256}),
    "nn.Transformer": (
        Translator,
        {"words": 200, "width": 128, "layers": 1},
        {"words": 10000, "width": 512, "layers": 6},
    ),
}


def _own(name: str, inputs: Callable[[int, bool], dict[str, Tensor]]) -> Entry:
    return Entry(name, partial(_sizes, *_OWN[name]), inputs, _itself)


MODELS = (
    Entry("ResNet-18", _resnet18, _image, _logits, "transformers"),
    Entry("MobileNetV2", _mobilenet_v2, _image, _logits, "transformers"),
    Entry("EfficientNet-B0", _efficientnet_b0, _image, _logits, "transformers"),
    _own("U-Net", partial(_image, name="image")),
    Entry("ViT-small", _vit_small, _image, _logits, "transformers"),
    Entry("BERT", _bert, _words, _logits, "transformers"),
    Entry("GPT-2", _gpt2, _words, _logits, "transformers"),
    Entry("Llama-style decoder", _llama, _words, _logits, "transformers"),
    _own("LSTM forecaster", _window),
    _own("nn.Transformer", _pair),
)
"""In the order of the table."""
