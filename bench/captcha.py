"""The captcha's picture and sound: time and bytes, made here and fetched over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from captcha.image import ImageCaptcha

from bench.load import Line, get
from bench.system import System
from bench.table import Result, middle, ratios
from reset.captcha import Captcha, answer

BLOCKS = 15
PICTURES = 40
SOUNDS = 8
FASTER = 4
PICTURE_BYTES = 7_000
SOUND_MS = 20
SOUND_BYTES = 330_000


def measure(out: Path) -> list[Result]:
    with System(out) as system:
        captcha = Captcha(system.keys, length=8, lifetime=timedelta(minutes=30))
        system.start_web()
        _require_same(system, captcha)
        return [*_picture(captcha, system.keys), *_sound(captcha)]


def _require_same(system: System, captcha: Captcha) -> None:
    """What is measured here is what a visitor gets."""
    challenge = captcha.issue(now=datetime.now(UTC))
    with Line(system.port) as line:
        for path, made in (
            (f"/captcha/{challenge}.png", captcha.picture(challenge)),
            (f"/captcha/{challenge}.wav", captcha.sound(challenge)),
        ):
            if line.ask(get(path)).partition(b"\r\n\r\n")[2] != made:
                raise RuntimeError(f"over HTTP comes something else: {path}")


def _picture(captcha: Captcha, keys: list[str]) -> list[Result]:
    library = ImageCaptcha()
    ours, theirs, sizes, their_sizes = [], [], [], []
    for block in range(BLOCKS + 1):
        challenges = _challenges(captcha, PICTURES)
        words = [answer(challenge, keys) for challenge in challenges]
        spent, made = _each(captcha.picture, challenges)
        sizes += made
        their_spent, their_made = _each(lambda word: library.generate(word).getvalue(), words)
        their_sizes += their_made
        if block:  # The first one warms up.
            ours.append(spent)
            theirs.append(their_spent)
    figure, spread = middle(ratios(theirs, ours))
    size, size_spread = middle(sizes)
    return [
        Result(
            "captcha picture, CPU",
            f"{middle(ours)[0]:.2f} ms",
            f"captcha library, its default with the same 8 letters, {middle(theirs)[0]:.2f} ms",
            figure,
            spread,
            f">= {FASTER} x faster",
            figure >= FASTER,
        ),
        Result(
            "captcha picture, bytes",
            f"{size:.0f}, largest of {len(sizes)}: {max(sizes)}",
            f"captcha library, {middle(their_sizes)[0]:.0f}",
            max(sizes),
            size_spread,
            f"<= {PICTURE_BYTES}",
            max(sizes) <= PICTURE_BYTES,
        ),
    ]


def _sound(captcha: Captcha) -> list[Result]:
    spent, sizes = [], []
    for block in range(BLOCKS + 1):
        per_sound, made = _each(captcha.sound, _challenges(captcha, SOUNDS))
        sizes += made
        if block:
            spent.append(per_sound)
    figure, spread = middle(spent)
    _, size_spread = middle(sizes)
    return [
        Result(
            "captcha sound, CPU",
            f"{figure:.1f} ms",
            "-",
            figure,
            spread,
            f"<= {SOUND_MS} ms",
            figure <= SOUND_MS,
        ),
        Result(
            "captcha sound, bytes",
            f"largest of {len(sizes)}: {max(sizes)}",
            "-",
            max(sizes),
            size_spread,
            f"<= {SOUND_BYTES}",
            max(sizes) <= SOUND_BYTES,
        ),
    ]


def _challenges(captcha: Captcha, count: int) -> list[str]:
    return [captcha.issue(now=datetime.now(UTC)) for _ in range(count)]


def _each(make: Callable[[str], bytes], given: list[str]) -> tuple[float, list[int]]:
    """Milliseconds of CPU for one, of all those *given*; and the size of each."""
    begun = time.process_time()
    sizes = [len(make(one)) for one in given]
    return (time.process_time() - begun) * 1000 / len(given), sizes
