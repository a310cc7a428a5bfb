"""What a simulator with one Python object per cell does: what the device benchmarks compare with.

Every cell reads its own parameters and moves itself, in plain floats (the leanest there can be) or
in whatever numbers its voltages are.
"""

import bisect
import math
import random


class VTEAMCell:
    """A voltage-driven cell that moves itself with Euler's rule."""

    def __init__(self, spec, x):
        self.r_on, self.r_off = spec.r_on, spec.r_off
        self.v_on, self.v_off = spec.v_on, spec.v_off
        self.k_on, self.k_off = spec.k_on, spec.k_off
        self.alpha_on, self.alpha_off = spec.alpha_on, spec.alpha_off
        self.width = spec.w_off - spec.w_on
        self.w = (1.0 - x) * self.width

    def step(self, v, dt):
        """Return the current and move the state."""
        current = v / (self.r_on + (self.r_off - self.r_on) * self.w / self.width)
        if v > self.v_off:
            speed = self.k_off * (v / self.v_off - 1.0) ** self.alpha_off
        elif v < self.v_on:
            speed = self.k_on * (v / self.v_on - 1.0) ** self.alpha_on
        else:
            speed = 0.0
        self.w = min(max(self.w + speed * dt, 0.0), self.width)
        return current


def one_vteam_cell(spec, volts, dt, x, window=None):
    """One VTEAM cell, Euler, constants in local variables and no calls; returns its currents."""
    r_on, r_off, v_on, v_off = spec.r_on, spec.r_off, spec.v_on, spec.v_off
    width = spec.w_off - spec.w_on
    k_on, k_off = spec.k_on / width, spec.k_off / width
    w, exp, currents = 1.0 - x, math.exp, []
    for v in volts:
        currents.append(v / (r_on + (r_off - r_on) * w))
        if v > v_off:
            speed = k_off * (v / v_off - 1.0) ** 1.0
            if window == "kvatinsky":
                speed *= exp(-exp((w - 0.9) / 0.035667))
            elif window == "biolek":
                speed *= 1.0 - w**4
        elif v < v_on:
            speed = k_on * (v / v_on - 1.0) ** 3.0
            if window == "kvatinsky":
                speed *= exp(-exp((0.1 - w) / 0.035667))
            elif window == "biolek":
                speed *= 1.0 - (w - 1.0) ** 4
        else:
            continue
        w += speed * dt
        if w < 0.0:
            w = 0.0
        elif w > 1.0:
            w = 1.0
    return currents


class ExponentialCell:
    """A pulse-count cell of the exponential model."""

    def __init__(self, spec):
        cell = spec.constants()
        self.g, self.low, self.high = cell["g_min"], cell["g_min"], cell["g_max"]
        self.k, self.levels, self.c2c = cell["curvature_set"], cell["levels"], cell["c2c"]

    def pulse(self):
        """One set pulse."""
        b = (self.high - self.low) / (1 - math.exp(-self.k))
        decay = math.exp(-self.k / self.levels)
        g = self.low + (self.g - self.low) * decay + b * (1 - decay)
        if self.c2c:
            g += random.gauss(0.0, self.c2c * (self.high - self.low))
        self.g = min(max(g, self.low), self.high)


class TabularCell:
    """A pulse-count cell that draws from a jump table."""

    def __init__(self, spec):
        self.g, self.low, self.high = spec.g_min, spec.g_min, spec.g_max
        self.table = spec.set_table

    def pulse(self):
        """One set pulse."""
        table = self.table
        row = min(bisect.bisect_right(table.g, self.g), len(table.g) - 1)
        cdf, u = table.cdf[row], random.random()
        j = min(max(bisect.bisect_right(cdf, u), 1), len(cdf) - 1)
        part = (u - cdf[j - 1]) / max(cdf[j] - cdf[j - 1], 1e-300)
        jump = table.dg[j - 1] + part * (table.dg[j] - table.dg[j - 1])
        self.g = min(max(self.g + jump, self.low), self.high)
