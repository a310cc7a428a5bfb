"""Recipes of noise-aware training."""
