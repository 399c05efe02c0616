"""Can a registered address be told from an unknown one? Judges what `measurement` saw.

Answers must be the same byte by byte. A time is judged by two figures with 95 % intervals: the AUC
(how often a request for the known address takes longer than one for the unknown; 0.5 is chance)
within blocks of neighbouring requests, and the difference of the 10th percentiles. Only an interval
within its bar shows that there is nothing to see, and only one beyond it that there is; across an
end of the bar it shows neither, and more requests are needed. Some requests for the unknown address
are made to last PLANTED_US longer: a run that does not find those has no verdict either.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from statistics import fmean, variance

PLANTED_US = 300
POST, NEXT = "POST", "next request"
KNOWN, UNKNOWN, PLANTED = "known", "unknown", "planted"
_AUC_BARS = {POST: (0.48, 0.52), NEXT: (0.47, 0.53)}
_PERCENTILE_BAR = (-100.0, 100.0)
_RESAMPLES = 2000
_Z = 1.96

Interval = tuple[float, float, float]  # The value and the ends of its 95 % interval.
Blocks = Sequence[Sequence[float]]


class Samples:
    """What was seen; a block maps (request, class of address) to microseconds."""

    def __init__(self) -> None:
        self.blocks: list[defaultdict[tuple[str, str], list[float]]] = []
        self.answers: defaultdict[str, dict[str, Counter[str]]] = defaultdict(
            lambda: {KNOWN: Counter(), UNKNOWN: Counter()}
        )

    def block(self) -> defaultdict[tuple[str, str], list[float]]:
        """A new block, to be filled."""
        self.blocks.append(defaultdict(list))
        return self.blocks[-1]

    def times(self, what: str, label: str) -> Blocks:
        return [block[what, label] for block in self.blocks]

    def difference(self) -> str | None:
        """The first line of an answer that only one of the addresses ever got."""
        for what, seen in self.answers.items():
            for one, other in ((KNOWN, UNKNOWN), (UNKNOWN, KNOWN)):
                for answer in seen[one].keys() - seen[other].keys():
                    ((usual, _),) = seen[other].most_common(1) or [("", 0)]
                    lines = zip_longest(answer.split("\n"), usual.split("\n"), fillvalue="")
                    got, instead = next(pair for pair in lines if pair[0] != pair[1])
                    times = f"{seen[one][answer]} of {seen[one].total()} times"
                    return f"{what}: the {one} address got {got!r} instead of {instead!r}, {times}"
        return None


@dataclass(frozen=True)
class Figure:
    """One measured value with its interval; ``planted`` is the same of the planted delay."""

    what: str
    value: Interval
    planted: Interval
    bar: tuple[float, float]

    @property
    def is_within(self) -> bool:
        return self.bar[0] <= self.value[1] and self.value[2] <= self.bar[1]

    @property
    def is_beyond(self) -> bool:
        return self.value[2] < self.bar[0] or self.bar[1] < self.value[1]

    @property
    def sees_planted(self) -> bool:
        return self.bar[1] < self.planted[1]  # As longer, not as shorter.


@dataclass(frozen=True)
class Report:
    """The verdict ("alike", "different" or "none") and its reason in a sentence.

    ``compared`` counts the answers, and ``difference`` is the first of one address alone.
    """

    verdict: str
    sentence: str
    difference: str | None = None
    compared: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    figures: Sequence[Figure] = field(default_factory=list)


def judge(samples: Samples) -> Report:
    """What the samples show."""
    figures = {
        what: [
            _figure(f"{what}, AUC", blockwise_auc, _AUC_BARS[what], samples, what),
            _figure(f"{what}, 10th percentile (us)", tenths, _PERCENTILE_BAR, samples, what),
        ]
        for what in (POST, NEXT)
    }
    everything = list(chain(*figures.values()))
    difference = samples.difference()
    compared = {
        what: {label: seen.total() for label, seen in both.items()}
        for what, both in samples.answers.items()
    }
    return Report(*_verdict(difference, figures), difference, compared, everything)


def _verdict(difference: str | None, figures: Mapping[str, Sequence[Figure]]) -> tuple[str, str]:
    everything = list(chain(*figures.values()))
    found = [difference] if difference else [one.what for one in everything if one.is_beyond]
    blind = [what for what, ones in figures.items() if not any(one.sees_planted for one in ones)]
    unsettled = [one.what for one in everything if not one.is_within]
    if found:
        return "different", f"The accounts can be told apart by {'; '.join(found)}."
    if blind:
        why = f"a planted delay of {PLANTED_US} us was not found in {', '.join(blind)}"
        return "none", f"No verdict: this run could not have seen a difference; {why}."
    if unsettled:
        return "none", f"No verdict: more requests are needed for {'; '.join(unsettled)}."
    return "alike", "The accounts cannot be told apart."


def auc(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """How often an x is greater than a y (ties count half), and the variance of that.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), 837-845.
    """
    below_x, below_y = _placements(xs, sorted(ys)), _placements(ys, sorted(xs))
    return fmean(below_x), variance(below_x) / len(xs) + variance(below_y) / len(ys)


def blockwise_auc(xs: Blocks, ys: Blocks) -> Interval:
    """The mean AUC of the blocks: what drifts over minutes hides no difference."""
    found = [auc(x, y) for x, y in zip(xs, ys, strict=True)]
    value = fmean(area for area, _ in found)
    half = _Z * (sum(spread for _, spread in found) ** 0.5) / len(found)
    return value, value - half, value + half


def tenths(xs: Blocks, ys: Blocks) -> Interval:
    """The difference of the 10th percentiles, with an interval by bootstrap."""
    x, y = sorted(chain(*xs)), sorted(chain(*ys))
    drawn = sorted(_resampled_tenth(x) - _resampled_tenth(y) for _ in range(_RESAMPLES))
    tail = _RESAMPLES // 40
    return x[len(x) // 10] - y[len(y) // 10], drawn[tail], drawn[-tail - 1]


def _figure(
    name: str,
    interval: Callable[[Blocks, Blocks], Interval],
    bar: tuple[float, float],
    samples: Samples,
    what: str,
) -> Figure:
    known, unknown, planted = (samples.times(what, of) for of in (KNOWN, UNKNOWN, PLANTED))
    return Figure(name, interval(known, unknown), interval(planted, unknown), bar)


def _placements(xs: Iterable[float], ordered: Sequence[float]) -> list[float]:
    return [(bisect_left(ordered, x) + bisect_right(ordered, x)) / 2 / len(ordered) for x in xs]


def _resampled_tenth(ordered: Sequence[float]) -> float:
    """The 10th percentile of a resample, of which only that value's place is drawn.

    Source: the k-th smallest of n uniform numbers has the Beta distribution (k, n + 1 - k).
    """
    n, k = len(ordered), len(ordered) // 10 + 1
    return ordered[int(n * random.betavariate(k, n + 1 - k))]
