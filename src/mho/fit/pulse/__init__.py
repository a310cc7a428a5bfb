"""The parts of `mho.fit.pulses`: data, laws, their likelihood, choice, population, words."""
