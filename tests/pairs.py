"""A pairwise covering: few cases in which every two choices of different kinds meet."""

import itertools
import random


def covering(choices, source, *, tries=12):
    """Return cases such that every pair of choices of two kinds is in one of them.

    Greedy: each case starts from a pair that is still missing, and every other kind takes the
    choice that covers most missing pairs; of several such cases the best one is kept.

    Args:
        choices: the names that can be chosen, by kind.
        source: a `random.Random`; another one gives another covering.
        tries: cases that are built for one that is kept.

    Returns:
        A list of dicts, one choice by kind.
    """
    kinds = list(choices)
    missing = {
        frozenset({(a, x), (b, y)})
        for a, b in itertools.combinations(kinds, 2)
        for x in choices[a]
        for y in choices[b]
    }
    cases = []
    while missing:
        found = [_case(choices, missing, source) for _ in range(tries)]
        best = max(found, key=lambda case: len(couples(case) & missing))
        missing -= couples(best)
        cases.append(best)
    return cases


def _case(choices, missing, source):
    # Sorted: the order of a set is another in every process.
    case = dict(source.choice(sorted(tuple(sorted(pair)) for pair in missing)))
    kinds = [kind for kind in choices if kind not in case]
    source.shuffle(kinds)
    for kind in kinds:
        gains = {
            choice: sum(frozenset({(kind, choice), known}) in missing for known in case.items())
            for choice in source.sample(list(choices[kind]), len(choices[kind]))
        }
        case[kind] = max(gains, key=gains.get)
    return case


def couples(case):
    """Return all pairs of choices that a case makes."""
    return {frozenset(pair) for pair in itertools.combinations(case.items(), 2)}


def seeded(seed):
    """Return a source of choices of one's own."""
    return random.Random(seed)
