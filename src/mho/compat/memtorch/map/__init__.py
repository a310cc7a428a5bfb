"""Mapping, scaling and tuning."""

from mho.compat.memtorch.map import Input, Module, Parameter

__all__ = ["Input", "Module", "Parameter"]
