"""The captcha's picture: repeatable, small and silent about its answer."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from reset.captcha.image import draw

ALPHABET = "ADFHJLNQRTWXaeghrt"
LETTERS = "QeAhTgXr"
ROOT = Path(__file__).parents[1]


def chunks(png: bytes) -> Iterator[bytes]:
    position = len(b"\x89PNG\r\n\x1a\n")
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        yield png[position + 4 : position + 8]
        position += length + 12


def draw_elsewhere(letters: str, seed: bytes) -> bytes:
    code = (
        "import sys; from reset.captcha.image import draw; "
        "sys.stdout.buffer.write(draw(sys.argv[1], bytes.fromhex(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, letters, seed.hex()]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout


def test_two_processes_draw_the_same_bytes() -> None:
    """Any process draws the same picture of one challenge, whatever it drew before."""
    draw("DFHJLNRW", b"another")
    assert draw(LETTERS, b"seed") == draw_elsewhere(LETTERS, b"seed")


def test_the_seed_and_the_letters_both_decide() -> None:
    """Another seed or another answer gives another picture."""
    assert len({draw(LETTERS, b"1"), draw(LETTERS, b"2"), draw("AAAAAAAA", b"1")}) == 3


def test_the_global_generator_is_left_alone() -> None:
    """The picture neither uses nor moves the generator that the rest of the program shares."""
    random.seed(1)
    before, first = random.getstate(), draw(LETTERS, b"seed")
    assert random.getstate() == before
    random.seed(2)
    assert draw(LETTERS, b"seed") == first


@pytest.mark.parametrize("letters", ["QeAhTg", LETTERS, "WWWWWWWWWW", "rtrtrtrt", ALPHABET[:9]])
def test_every_answer_gives_a_picture_of_one_size(letters: str) -> None:
    """Long, wide and narrow answers all fill a palette PNG of 360 x 100."""
    picture = Image.open(BytesIO(draw(letters, b"seed")))
    assert (picture.size, picture.mode) == ((360, 100), "P")


def test_the_picture_is_small() -> None:
    """A picture costs a slow telephone 7 kB at most."""
    rng = random.Random(0)  # noqa: S311 - the same thirty pictures in every run.
    sizes = [len(draw("".join(rng.choices(ALPHABET, k=8)), rng.randbytes(32))) for _ in range(30)]
    assert max(sizes) <= 7_000


def test_the_file_carries_nothing_but_the_picture() -> None:
    """No text, time or other metadata stands beside the pixels."""
    assert set(chunks(draw(LETTERS, b"seed"))) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


@pytest.mark.parametrize("seed", range(20))
def test_the_two_colours_contrast(seed: int) -> None:
    """Dark and light differ by more than 7:1, as WCAG 2.2, 1.4.6 asks of text."""
    palette = Image.open(BytesIO(draw(LETTERS, bytes([seed])))).getpalette() or []
    assert contrast(palette[:3], palette[-3:]) > 7


def contrast(light: Sequence[int], dark: Sequence[int]) -> float:
    return (luminance(light) + 0.05) / (luminance(dark) + 0.05)


def luminance(colour: Sequence[int]) -> float:
    """Return the relative luminance. Source: WCAG 2.2, definition of relative luminance."""
    return sum(w * linear(c / 255) for w, c in zip((0.2126, 0.7152, 0.0722), colour, strict=True))


def linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
