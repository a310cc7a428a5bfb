"""The command ``mho``, as it is declared: names, options, help. What it does is in `mho.cli`.

This package stands beside mho, not in it: ``import mho`` imports torch and registers operators with
it, which takes seconds, and help, shell completion and a mistyped option should answer at once. So
nothing here imports mho or torch before a command runs.
"""
