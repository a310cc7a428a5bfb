"""The ground of the house: specs, files, checks, randomness, selection. Nothing of the field."""
