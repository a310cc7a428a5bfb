"""Circuits around the cells: small cited specs of what each costs."""

from mho.analysis.components.base import Component, Estimate

__all__ = ["Component", "Estimate"]
