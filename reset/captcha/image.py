"""The captcha's picture: letters, inverted inside wavy bands and specks, soft and hard in turns.

Bands confuse programs far more than people; lines through the letters or strong rotation do the
opposite, so there are none.
"""

import math
import random
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT = 360, 100
MARGIN, GAP = 6, 4
# All fonts are scaled to one height of capitals: size alone must tell H from h.
CAP_HEIGHT, BASELINE = 50, 70
GLYPH_HEIGHT, GLYPH_BASELINE = 78, 54
TILE_PADDING = 14
SHADES = 10
PATCH_SCALE = 8

FONT_DIR = Path(__file__).parent / "fonts"
# Each font with the letters it draws too much like another: a one-storey a, a W as narrow as an N.
FONTS = {
    "ComicNeue-Bold.otf": "a",
    "DejaVuSans-Bold.ttf": "",
    "DejaVuSansMono-Bold.ttf": "W",
    "DejaVuSerif-Bold.ttf": "",
    "Inter-Bold.otf": "",
}

# If all letters were soft and all bands hard, the grey pixels would be the letters' edges, and a
# picture of these alone is read by programs. So in some patches it is the other way round.
SOFT = ImageFilter.GaussianBlur(1.2)


def draw(letters: str, seed: bytes) -> bytes:
    """Draw *letters* as a PNG; the same letters and seed give the same bytes on every host.

    *letters* come from the captcha's alphabet, about 6 to 10 of them. *seed* is secret: it decides
    everything else, so whoever knows it can undo the drawing.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable by design; the seed is what is secret.
    line = _wave(_line(letters, rng), rng)
    marks, bands = ImageChops.difference(line, _specks(rng)), _bands(rng)
    patches = _patches(rng)
    marks = Image.composite(marks.filter(SOFT), marks, patches)
    bands = Image.composite(bands, bands.filter(SOFT), patches)
    return _png(ImageChops.difference(marks, bands), rng)


def _line(letters: str, rng: random.Random) -> Image.Image:
    """Set the letters side by side: wide ones squeezed, narrow ones spread, to fill the width."""
    line = Image.new("L", (WIDTH, HEIGHT))
    glyphs = [
        (_glyph(_font_for(letter, rng), letter), rng.uniform(0.92, 1.08)) for letter in letters
    ]
    natural = sum(glyph.width * stretch for glyph, stretch in glyphs)
    squeeze = min(1.0, (WIDTH - 2 * MARGIN - GAP * len(glyphs)) / natural)
    gap = (WIDTH - 2 * MARGIN - natural * squeeze) / len(glyphs)
    left = MARGIN + gap / 2
    for glyph, stretch in glyphs:
        width = glyph.width * stretch * squeeze
        _place(line, glyph, left, width, rng)
        left += width + gap
    return line


def _place(
    line: Image.Image, glyph: Image.Image, left: float, width: float, rng: random.Random
) -> None:
    corner = int(left) - TILE_PADDING
    centre = (left - corner + width / 2, BASELINE - CAP_HEIGHT / 2 + rng.uniform(-5, 5))
    tile = glyph.transform(
        (int(width) + 2 * TILE_PADDING, HEIGHT),
        Image.Transform.AFFINE,
        _tilt(glyph, width / glyph.width, centre, rng),
        Image.Resampling.BILINEAR,
    )
    line.paste(255, (corner, 0), tile)


def _tilt(
    glyph: Image.Image, stretch: float, centre: tuple[float, float], rng: random.Random
) -> tuple[float, ...]:
    """Map the tile back to the glyph: the inverse of stretch, shear and rotation in this order."""
    angle, shear = math.radians(rng.uniform(-8, 8)), rng.uniform(-0.1, 0.1)
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = (cos + shear * sin) / stretch, (sin - shear * cos) / stretch
    x, y = centre
    return (
        *(a, b, glyph.width / 2 - a * x - b * y),
        *(-sin, cos, GLYPH_BASELINE - CAP_HEIGHT / 2 + sin * x - cos * y),
    )


def _font_for(letter: str, rng: random.Random) -> str:
    return rng.choice([font for font, unclear in FONTS.items() if letter not in unclear])


@cache
def _glyph(font_name: str, letter: str) -> Image.Image:
    font = _font(font_name)
    left, _, right, _ = font.getbbox(letter, anchor="ls")
    glyph = Image.new("L", (math.ceil(right - left), GLYPH_HEIGHT))
    ImageDraw.Draw(glyph).text((-left, GLYPH_BASELINE), letter, 255, font, anchor="ls")
    return glyph


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    # The basic layout is the one that every build of Pillow has.
    font = ImageFont.truetype(FONT_DIR / name, 200, layout_engine=ImageFont.Layout.BASIC)
    cap_height = -font.getbbox("H", anchor="ls")[1]
    return font.font_variant(size=200 * CAP_HEIGHT / cap_height)


def _wave(line: Image.Image, rng: random.Random) -> Image.Image:
    phase_x, phase_y = rng.uniform(0, math.tau), rng.uniform(0, math.tau)
    length_x, length_y = rng.uniform(90, 130), rng.uniform(110, 180)

    def source(x: int, y: int) -> tuple[float, float]:
        return (
            x + 3 * math.sin(math.tau * y / length_x + phase_x),
            y + 4 * math.sin(math.tau * x / length_y + phase_y),
        )

    mesh = [
        ((x0, y0, x1, y1), source(x0, y0) + source(x0, y1) + source(x1, y1) + source(x1, y0))
        for x0, x1 in pairwise(range(0, WIDTH + 1, 20))
        for y0, y1 in pairwise(range(0, HEIGHT + 1, 25))
    ]
    return line.transform(line.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _bands(rng: random.Random) -> Image.Image:
    bands = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(bands)
    # Steep enough to cross every letter: flatter bands hide little from programs.
    angle = math.radians(rng.uniform(31, 149))
    edge = _band_edge(angle, rng)
    lean = max(abs(x) for x, _ in edge)
    left = -lean - rng.uniform(0, 40)
    while left < WIDTH + lean:
        right = left + rng.uniform(16, 22) / math.sin(angle)
        outline = [(left + x, y) for x, y in edge] + [(right + x, y) for x, y in reversed(edge)]
        pen.polygon(outline, 255)
        left = right + rng.uniform(16, 22) / math.sin(angle)
    return bands


def _band_edge(angle: float, rng: random.Random) -> list[tuple[float, float]]:
    """Return the wavy line that all bands of one picture follow, from the top to the bottom."""
    phase, length = rng.uniform(0, math.tau), rng.uniform(50, 90)
    swing = 5 / math.sin(angle)
    return [
        (y / math.tan(angle) + swing * math.sin(math.tau * y / length + phase), y)
        for y in range(0, HEIGHT + 1, 4)
    ]


def _patches(rng: random.Random) -> Image.Image:
    """White where letters are soft and bands hard: wider than a letter, with soft borders."""
    patches = Image.new("L", (WIDTH // PATCH_SCALE, HEIGHT // PATCH_SCALE))
    pen = ImageDraw.Draw(patches)
    left, is_white = rng.uniform(-5, 0), rng.random() < 0.5
    while left < patches.width + 8:
        right, lean = left + rng.uniform(5.0, 8.5), rng.uniform(-3, 3)
        foot = patches.height
        if is_white:
            pen.polygon([(left, 0), (right, 0), (right + lean, foot), (left + lean, foot)], 255)
        left, is_white = right, not is_white
    return patches.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)


def _specks(rng: random.Random) -> Image.Image:
    specks = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(specks)
    for _ in range(32):
        x, y, radius = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(1.3, 2.2)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    return specks


def _png(picture: Image.Image, rng: random.Random) -> bytes:
    # Within these ranges the contrast is over 7:1 (WCAG 2.2, 1.4.6).
    light = [rng.randint(225, 250) for _ in "rgb"]
    dark = [rng.randint(10, 70) for _ in "rgb"]
    indexed = picture.point([value * SHADES // 256 for value in range(256)])
    indexed.putpalette(_blend(light, dark))
    png = BytesIO()
    indexed.save(png, "PNG", bits=4)
    return png.getvalue()


def _blend(first: list[int], last: list[int]) -> list[int]:
    steps = [step / (SHADES - 1) for step in range(SHADES)]
    return [round(a + (b - a) * step) for step in steps for a, b in zip(first, last, strict=True)]
