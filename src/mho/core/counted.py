"""Draws by counting: random numbers as a pure function of a stream's two integers.

A generator is seeded on the host, so a stream on an accelerator would have to be read back first,
and the host would wait. Here number i of draw ``n`` is a hash of (seed, n, i), worked out where the
stream lives, and the count is moved on there:

    key = mix(seed + (n + 1) γ),    bits_i = mix(key + (i + 1) γ)

with ``mix`` and γ of splitmix64, which passes BigCrush (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", 2014, doi 10.1145/2660193.2660195). Nothing waits, `torch.compile`
fuses it, and a captured CUDA graph draws anew at every replay, as the count moves on inside of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)
_LOW = 2**32 - 1


def _shifted(z: Tensor, by: int) -> Tensor:
    return (z >> by) & (2 ** (64 - by) - 1)  # torch's shift brings the sign along


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def bits(count: int, rng: Tensor) -> Tensor:
    """Draw 64 random bits each, ``[count]`` (int64), and move the stream on, in place.

    Args:
        count: how many.
        rng: the stream ``[seed, draws]``; see `mho.core.random`.
    """
    key = _mix(rng[0] + (rng[1] + 1) * _GAMMA)
    rng[1] += 1
    return _mix(torch.arange(1, count + 1, device=rng.device) * _GAMMA + key)


def forked(rng: Tensor) -> Tensor:
    """Return a new stream seeded by the next 63 bits of another, where that lives.

    Args:
        rng: the stream; it moves on, in place.
    """
    seed = _shifted(bits(1, rng), 1)
    return torch.cat((seed, torch.zeros_like(seed)))


def normal(like: Tensor, rng: Tensor) -> Tensor:
    """Draw standard normals ``[numel]``, of 32 bits each by Box and Muller: up to 6.7 σ.

    Args:
        like: gives number and dtype.
        rng: the stream.
    """
    count = like.numel()
    kind = torch.promote_types(like.dtype, torch.float32)
    word = bits((count + 1) // 2, rng)
    radius = ((word & _LOW).to(kind) + 0.5).mul_(2.0**-32).log_().mul_(-2.0).clamp_(min=0.0).sqrt_()
    angle = _shifted(word, 32).to(kind) * (2 * math.pi * 2.0**-32)
    return torch.cat((radius * angle.cos(), radius * angle.sin()))[:count].to(like.dtype)


def uniform(like: Tensor, rng: Tensor) -> Tensor:
    """Draw from U[0, 1), ``[numel]``; as `normal`."""
    size = {torch.float64: 53, torch.float32: 24}.get(like.dtype, 8)
    return _shifted(bits(like.numel(), rng), 64 - size).to(like.dtype) * 2.0**-size
