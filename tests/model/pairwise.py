"""A small set of cases in which every legal pair of choices occurs."""

import itertools
from collections.abc import Callable, Mapping, Sequence

Case = dict[str, object]


def pairs_of(case: Case) -> set[tuple]:
    return set(itertools.combinations(case.items(), 2))


def pairwise_cover(factors: Mapping[str, Sequence], is_legal: Callable[[Case], bool]) -> list[Case]:
    """Greedy, and the same each time: the next case is the first that covers most that is left."""
    product = itertools.product(*factors.values())
    cases = [dict(zip(factors, values, strict=True)) for values in product]
    left = {number: pairs_of(case) for number, case in enumerate(cases) if is_legal(case)}
    cover = []
    while left:
        best = max(left, key=lambda number: (len(left[number]), -number))
        covered = left.pop(best)
        cover.append(cases[best])
        left = {number: rest for number, pairs in left.items() if (rest := pairs - covered)}
    return cover
