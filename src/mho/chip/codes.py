"""Collaborative logistic classifier: a last layer that corrects its own errors.

Each class is a codeword of ``n`` bits, and each bit is a logistic classifier of its own. A class
is recognised by the codeword nearest to the bits found; with codewords at least ``d`` apart,
``⌊(d-1)/2⌋`` wrong bits do no harm.

Source of the idea: T. Liu et al., 2019, doi 10.1145/3316781.3317742 (classifiers of codewords that
correct errors, a code searched for the network at hand, decoding of variable length). The search,
the bounds of the decoder and the order of the bits are this package's own.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mho.core import checks, random

_POOL = 2**12
_SWEEPS = 20
_STARTS = 6


def hamming(codewords: Tensor) -> Tensor:
    """Return the Hamming distances ``[classes, classes]`` of codewords ``[classes, bits]``."""
    return (codewords.unsqueeze(0) != codewords.unsqueeze(1)).sum(-1)


def least_distance(codewords: Tensor) -> int:
    """Return the smallest Hamming distance between two codewords."""
    apart = hamming(codewords)
    return int(apart[~torch.eye(len(apart), dtype=torch.bool, device=apart.device)].min())


def search_code(
    confusion: Tensor, bits: int, *, distance: int | None = None, seed: int = 0
) -> Tensor:
    """Search codewords for a network: those of classes it confuses lie far apart.

    Among codes whose codewords are at least ``distance`` apart, a greedy search with exchanges
    maximises ``Σ_ij C_ij d(i, j)``, with ``C`` the confusion of both classes (and a little for all
    pairs alike, so that no bit is idle).

    Args:
        confusion: how often class ``i`` was taken for ``j``, ``[classes, classes]``, >= 0; its
            diagonal does not count.
        bits: of a codeword, at least enough to tell the classes apart.
        distance: that any two codewords must keep; None for the largest the search attains.
        seed: of the search.

    Returns:
        Boolean codewords ``[classes, bits]``.

    Raises:
        TypeError, ValueError: if an argument is refused, or no code of that distance was found.
    """
    checks.instance("confusion", confusion, Tensor)
    if confusion.dim() != 2 or confusion.shape[0] != confusion.shape[1] or len(confusion) < 2:
        raise ValueError(f"confusion must be [classes, classes], got {list(confusion.shape)}")
    checks.finite("confusion", confusion)
    if float(confusion.min()) < 0:
        raise ValueError(f"confusion must be >= 0, got {float(confusion.min())!r}")
    classes = len(confusion)
    bits = checks.integer("bits", bits, least=(classes - 1).bit_length(), most=62)
    if distance is not None:
        distance = checks.integer("distance", distance, most=bits)
    source = random.generator(seed)
    weight = _importance(confusion)
    pool = _candidates(bits, source)
    signs = 2.0 * pool.float() - 1.0
    wanted = [distance] if distance is not None else list(range(_plotkin(classes, bits), 0, -1))
    for least in wanted:
        begun = [_greedy(weight, signs, least, source) for _ in range(_STARTS)]
        ended = [_exchanged(*one, weight, signs, least) for one in begun if one is not None]
        if ended:
            return max((pool[w] for w in ended), key=lambda c: float((hamming(c) * weight).sum()))
    raise ValueError(
        f"no code of {classes} words of {bits} bits at distance {distance} was found; at most "
        f"{_plotkin(classes, bits)} is possible (Plotkin bound): use more bits or less distance"
    )


def _importance(confusion: Tensor) -> Tensor:
    both = confusion.float().cpu()
    both = (both + both.T).fill_diagonal_(0.0)
    both = both / both.sum().clamp(min=1e-30)
    return (both + 0.1 / both.numel()).fill_diagonal_(0.0)


def _plotkin(classes: int, bits: int) -> int:
    """Largest mean distance that so many words can have: no code's smallest is larger."""
    half = classes // 2
    return int(bits * 2 * half * (classes - half) / (classes * (classes - 1)))


def _candidates(bits: int, source: torch.Generator) -> Tensor:
    """All words of so many bits, or as many random ones as are practical, ``[words, bits]``."""
    if 2**bits <= _POOL:
        number = torch.arange(2**bits)
    else:
        number = torch.randint(2**bits, (_POOL,), generator=source)
    return ((number.unsqueeze(1) >> torch.arange(bits)) & 1).bool()


def _apart(signs: Tensor, word: Tensor) -> Tensor:
    """Hamming distances ``[pool]`` of all words, given as signs, from one of them."""
    return (signs.shape[1] - signs @ word) / 2.0


def _merit(apart: Tensor, weight: Tensor, others: Tensor, least: int) -> Tensor:
    """Weighted sum of distances from the other words; ``-inf`` for words too near to one."""
    near = torch.where(others, apart, torch.inf).amin(1)
    return torch.where(near >= least, apart @ (weight * others), -torch.inf)


def _greedy(
    weight: Tensor, signs: Tensor, least: int, source: torch.Generator
) -> tuple[Tensor, Tensor] | None:
    """Choose class by class; None where some class finds no word far enough from the others.

    Returns:
        Which words, ``[classes]``, and the distances of all words from these, ``[pool, classes]``.
    """
    classes = len(weight)
    order = torch.randperm(classes, generator=source).tolist()
    words = torch.zeros(classes, dtype=torch.int64)
    apart = torch.zeros(len(signs), classes)
    chosen = torch.zeros(classes, dtype=torch.bool)
    for index in order:
        if bool(chosen.any()):
            merit = _merit(apart, weight[index], chosen, least)
            # A tight packing first; among equals, far from what it is confused with.
            merit = merit - apart @ chosen.float() / chosen.sum()
            merit = merit + 1e-3 * torch.rand(len(signs), generator=source)
            words[index] = merit.argmax()
            if merit[words[index]] == -torch.inf:
                return None
        else:
            words[index] = torch.randint(len(signs), (), generator=source)
        apart[:, index] = _apart(signs, signs[words[index]])
        chosen[index] = True
    return words, apart


def _exchanged(words: Tensor, apart: Tensor, weight: Tensor, signs: Tensor, least: int) -> Tensor:
    """Give class after class a better word, until none gets better."""
    for _ in range(_SWEEPS):
        changed = False
        for index in range(len(words)):
            others = torch.arange(len(words)) != index
            merit = _merit(apart, weight[index], others, least)
            best = merit.argmax()
            if float(merit[best]) > float(merit[words[index]]) + 1e-6:
                words[index], changed = best, True
                apart[:, index] = _apart(signs, signs[best])
        if not changed:
            break
    return words


class CollaborativeClassifier(nn.Module):
    """The last layer of a network: one logistic classifier a bit, ``z = W x + b``.

    Its outputs are the bits' logits; `loss` trains them, `decode` and `decode_early` find the
    class. ``mho.convert`` puts the linear layer inside on a crossbar.

    Args:
        in_features: inputs.
        codewords: boolean ``[classes, bits]``, all different.
        bias: whether the classifiers have biases.

    Attributes:
        linear: the classifiers.
        codewords: as given.
        order: in which the bits are read by `decode_early`; see `rank`.

    Raises:
        TypeError, ValueError: if the codewords are refused.
    """

    codewords: Tensor
    order: Tensor

    def __init__(self, in_features: int, codewords: Tensor, bias: bool = True) -> None:
        bias = checks.truth("bias", bias)
        super().__init__()
        checks.instance("codewords", codewords, Tensor)
        if codewords.dim() != 2 or codewords.dtype != torch.bool or len(codewords) < 2:
            raise ValueError(
                "codewords must be boolean [classes, bits] of two classes or more, got "
                f"{codewords.dtype} {list(codewords.shape)}"
            )
        if least_distance(codewords) == 0:
            raise ValueError("codewords must all be different")
        bits = codewords.shape[1]
        self.linear = nn.Linear(in_features, bits, bias)
        self.register_buffer("codewords", codewords.clone())
        self.register_buffer("order", torch.arange(bits))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the bits, ``[…, bits]``."""
        logits: Tensor = self.linear(x)
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean binary cross-entropy of all bits.

        Args:
            logits: ``[…, bits]``.
            labels: class numbers ``[…]``.
        """
        checks.columns("logits", logits, self.codewords.shape[1])
        wanted = self.codewords[labels].to(logits)
        return F.binary_cross_entropy_with_logits(logits, wanted)

    def distances(self, logits: Tensor, soft: bool = False) -> Tensor:
        """Return how far bits are from every codeword, ``[…, classes]``.

        Args:
            logits: ``[…, bits]``.
            soft: False counts wrong bits (Hamming distance); True adds up what each would cost,
                ``-log p(bit)``.
        """
        soft = checks.truth("soft", soft)
        checks.columns("logits", logits, self.codewords.shape[1])
        code = self.codewords.to(logits)
        if soft:
            return F.softplus(logits).sum(-1, keepdim=True) - logits @ code.T
        found = (logits > 0).to(logits)
        return found @ (1 - code).T + (1 - found) @ code.T

    def decode(self, logits: Tensor, soft: bool = False) -> Tensor:
        """Return the class ``[…]`` whose codeword is nearest; of equals the first."""
        soft = checks.truth("soft", soft)
        return self.distances(logits, soft).argmin(-1)

    def decode_early(self, logits: Tensor, margin: int | None = None) -> tuple[Tensor, Tensor]:
        """Read the bits in `order` and stop as soon as the class is certain.

        A class is certain when for every other class the bits not yet read, of those in which the
        two codewords differ, could not make up the lead: then it is the class that `decode`
        finds, of fewer bits. A margin stops earlier, at some risk.

        Args:
            logits: ``[samples, bits]``.
            margin: stop at this lead over the second, >= 1; None for certainty.

        Returns:
            The class and the number of bits read, ``[samples]`` each.
        """
        checks.columns("logits", logits, self.codewords.shape[1])
        if margin is not None:
            margin = checks.integer("margin", margin)
        code = self.codewords[:, self.order]
        wrong = (logits[:, self.order] > 0).unsqueeze(1) != code  # [samples, classes, bits]
        apart = wrong.cumsum(-1)
        leader = apart.argmin(1)  # [samples, bits]
        lead = apart - apart.gather(1, leader.unsqueeze(1))
        if margin is None:
            differ = (code.unsqueeze(0) != code.unsqueeze(1)).long()  # [classes, classes, bits]
            left = differ.flip(-1).cumsum(-1).flip(-1) - differ
            bits = torch.arange(code.shape[1], device=code.device)
            needed = left[leader, :, bits].transpose(1, 2)  # [samples, classes, bits]
            ahead = lead > needed
        else:
            ahead = lead >= margin
        ahead |= torch.arange(len(code), device=code.device).view(1, -1, 1) == leader.unsqueeze(1)
        certain = ahead.all(1)
        certain[:, -1] = True
        used = certain.to(torch.uint8).argmax(-1)
        return leader.gather(1, used.unsqueeze(1)).squeeze(1), used + 1

    @torch.no_grad()
    def rank(self, logits: Tensor, labels: Tensor) -> None:
        """Read the most reliable bits first: order them by how often they are right.

        Args:
            logits: of some samples, ``[samples, bits]``.
            labels: their classes ``[samples]``.
        """
        right = ((logits > 0) == self.codewords[labels]).double().mean(0)
        self.order = right.argsort(descending=True, stable=True)


def collaborative(model: nn.Module, codewords: Tensor) -> nn.Module:
    """Return a copy of a classifier whose last linear layer is a collaborative classifier.

    A bit's classifier begins as the mean of the classes that have the bit, less the mean of those
    that have not; train the whole on with its `CollaborativeClassifier.loss`.

    Args:
        model: a torch model; it is not changed. Its last `torch.nn.Linear`, in the order of its
            modules, has one output a class.
        codewords: boolean ``[classes, bits]``.

    Raises:
        TypeError, ValueError: if there is no such layer, or the codewords are refused.
    """
    checks.instance("model", model, nn.Module)
    linears = [(n, m) for n, m in model.named_modules() if type(m) is nn.Linear]
    if not linears:
        raise ValueError("the model has no torch.nn.Linear to replace")
    name, last = linears[-1]
    head = CollaborativeClassifier(last.in_features, codewords, last.bias is not None)
    if len(codewords) != last.out_features:
        raise ValueError(
            f"codewords must be of {last.out_features} classes, as the outputs of {name!r}, got "
            f"{len(codewords)}"
        )
    with torch.no_grad():
        share = codewords.to(last.weight)
        share = share / share.sum(0).clamp(min=1) - (1 - share) / (1 - share).sum(0).clamp(min=1)
        head.linear.weight = nn.Parameter(share.T @ last.weight)
        if last.bias is not None:
            head.linear.bias = nn.Parameter(share.T @ last.bias)
    memo = {id(last): head.to(last.weight.device).train(last.training)}
    return copy.deepcopy(model, memo)


def head_of(model: nn.Module) -> CollaborativeClassifier:
    """Return the one collaborative classifier of a model.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = [m for m in model.modules() if isinstance(m, CollaborativeClassifier)]
    if len(found) != 1:
        raise ValueError(f"the model must have one CollaborativeClassifier, it has {len(found)}")
    return found[0]
