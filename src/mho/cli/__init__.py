"""The command line: `mho demo`, `mho fit`."""
