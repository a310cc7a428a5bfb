"""Training with few bits: number formats, quantised layers and optimizers, WAGE."""
