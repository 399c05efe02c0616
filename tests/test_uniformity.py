"""The verdict of `flask reset prove-uniform`: the statistics, and what they allow to say."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain

import pytest

from reset.uniformity import (
    KNOWN,
    NEXT,
    PLANTED,
    POST,
    UNKNOWN,
    Figure,
    Interval,
    Report,
    Samples,
    auc,
    blockwise_auc,
    judge,
    tenths,
)


def test_auc_of_a_published_example() -> None:
    """109 pictures rated 1 to 5, many ties: area 0.8932, standard error 0.0307.

    Source: Hanley and McNeil, Radiology 143 (1982), table I; Stata's manual, `roctab`.
    """
    normal = [*Counter({1: 33, 2: 6, 3: 6, 4: 11, 5: 2}).elements()]
    abnormal = [*Counter({1: 3, 2: 2, 3: 2, 4: 11, 5: 33}).elements()]
    area, spread = auc(abnormal, normal)
    assert (round(area, 4), round(spread**0.5, 4)) == (0.8932, 0.0307)


def test_auc_counts_ties_half() -> None:
    """7.5 of 9 pairs; the variance by hand: 1/36/3 + 1/12/3."""
    assert auc([3, 4, 5], [1, 2, 4]) == pytest.approx((7.5 / 9, 1 / 27))


def test_auc_of_blocks_is_not_blurred_by_drift() -> None:
    """What is 1 us slower is found although the machine becomes 100 us slower every block."""
    known = [[100.0 * block + k + 1 for k in (0, 0.1)] for block in range(20)]
    unknown = [[100.0 * block + k for k in (0, 0.1)] for block in range(20)]
    assert blockwise_auc(known, unknown) == (1, 1, 1)
    pooled, _ = auc([*chain(*known)], [*chain(*unknown)])
    assert pooled < 0.53


def test_tenth_percentiles() -> None:
    """The difference of the two, in an interval that holds it."""
    value, low, high = tenths([[float(x) for x in range(1000)]], [[10.0 * x for x in range(1000)]])
    assert value == 100 - 1000
    # The 10th percentile of 1000 equally likely values scatters by sqrt(1000 * 0.1 * 0.9) places.
    assert low == pytest.approx(-900 - 1.96 * 95, rel=0.1)
    assert high == pytest.approx(-900 + 1.96 * 95, rel=0.1)


@pytest.mark.parametrize(
    ("n", "post", "next_", "verdict", "words"),
    [
        (5000, (0, 0), (0, 0), "alike", "cannot be told apart"),
        (5000, (60, 0), (0, 0), "different", "by POST, AUC."),
        (5000, (0, 0), (60, 0), "different", "by next request, AUC."),
        (5000, (120, 0), (0, 0), "different", "POST, AUC; POST, 10th percentile"),
        (200, (0, 0), (0, 0), "none", "more requests are needed for POST, AUC; next request, AUC"),
        (200, (0, 9000), (0, 0), "none", "could not have seen a difference; a planted delay of"),
        (200, (0, 9000), (0, 0), "none", "not found in POST."),
    ],
)
def test_verdict(
    n: int, post: tuple[float, float], next_: tuple[float, float], verdict: str, words: str
) -> None:
    """Alike only where every interval lies in its bar, different only where one lies beyond it."""
    report = judge(_samples(n, {POST: post, NEXT: next_}))
    assert (report.verdict, words in report.sentence) == (verdict, True), report.sentence


@pytest.mark.parametrize(
    ("planted", "seen"),
    [((0.6, 0.53, 0.7), True), ((0.6, 0.51, 0.7), False), ((0.3, 0.2, 0.4), False)],
)
def test_planted_delay_is_seen_as_a_delay(planted: Interval, seen: bool) -> None:
    """Not where it may be chance, nor where it seems to be shorter."""
    figure = Figure("POST, AUC", (0.5, 0.49, 0.51), planted, (0.48, 0.52))
    assert figure.sees_planted == seen


def test_one_answer_of_one_address_is_a_difference() -> None:
    """However seldom: with the line, and how often."""
    samples = _samples(200, {POST: (0, 0), NEXT: (0, 0)})
    samples.answers[POST][KNOWN].update({"303\nX-A: 1": 199, "303\nX-A: 2": 1})
    samples.answers[POST][UNKNOWN].update({"303\nX-A: 1": 200})
    report = judge(samples)
    assert report.verdict == "different"
    assert "POST: the known address got 'X-A: 2' instead of 'X-A: 1', 1 of 200" in report.sentence


def test_what_both_addresses_get_is_no_difference() -> None:
    """A page that changed during the run, for everybody."""
    samples = _samples(200, {POST: (0, 0), NEXT: (0, 0)})
    for label in (KNOWN, UNKNOWN):
        samples.answers["form"][label].update({"old": 3, "new": 4})
    report: Report = judge(samples)
    assert report.difference is None
    assert report.compared["form"] == {KNOWN: 7, UNKNOWN: 7}


def _samples(n: int, what: dict[str, tuple[float, float]]) -> Samples:
    """Times around 2 ms; a pair is what is added for the known, and noise for everybody."""
    chance = random.Random(4)  # noqa: S311 - no secret
    samples = Samples()
    for _ in range(n // 50):
        block = samples.block()
        for request, (leak, noise) in what.items():
            for label, extra in ((KNOWN, leak), (UNKNOWN, 0), (PLANTED, 300)):
                block[request, label] = [
                    2000 + extra + chance.uniform(0, 400 + noise) for _ in range(50)
                ]
    return samples
