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

from PIL import Image, ImageChops, ImageDraw, ImageFont

WIDTH, HEIGHT = 360, 100
# Letters and specks are drawn at half the size: a quarter of the work, and enlarged they are soft.
SMALL_WIDTH, SMALL_HEIGHT = WIDTH // 2, HEIGHT // 2
# All fonts are scaled to one height of capitals: size alone must tell H from h.
CAP_HEIGHT, BASELINE = 25, 35
GLYPH_HEIGHT, GLYPH_BASELINE, GLYPH_PADDING = 39, 27, 2
MARGIN, GAP = 1, 2 - 2 * GLYPH_PADDING
TILE_PADDING = 3
BENDS = 4
HARDER = [min(max(4 * (value - 128) + 128, 0), 255) for value in range(256)]
SHADES = 7
SHADE_OF = [value * SHADES // 256 for value in range(256)]
# From this many on Pillow writes a byte for each pixel. To fewer it fits filters, at double cost.
COLOURS = 17

FONT_DIR = Path(__file__).parent / "fonts"
# Each font with the letters it draws too much like another: a one-storey a, a W as narrow as an N.
FONTS = {
    "ComicNeue-Bold.otf": "a",
    "DejaVuSans-Bold.ttf": "",
    "DejaVuSansMono-Bold.ttf": "W",
    "DejaVuSerif-Bold.ttf": "",
    "Inter-Bold.otf": "",
}


def draw(letters: str, seed: bytes) -> bytes:
    """Draw *letters* as a PNG; the same letters and seed give the same bytes on every host.

    *letters* come from the captcha's alphabet, about 6 to 10 of them. *seed* is secret: it decides
    everything else, so whoever knows it can undo the drawing.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable by design; the seed is what is secret.
    small = ImageChops.difference(_line(letters, rng), _specks(rng))
    marks, bands = small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR), _bands(rng)
    # If all letters were soft and all bands hard, the grey pixels would be the letters' edges, and
    # a picture of these alone is read by programs. So in some patches it is the other way round.
    picture = Image.composite(
        ImageChops.difference(marks, bands),
        ImageChops.difference(marks.point(HARDER), _soft(bands)),
        _patches(rng),
    )
    return _png(picture, rng)


def _line(letters: str, rng: random.Random) -> Image.Image:
    """Set the letters side by side: wide ones squeezed, narrow ones spread, to fill the width."""
    line = Image.new("L", (SMALL_WIDTH, SMALL_HEIGHT))
    bend = rng.randrange(BENDS)
    glyphs = [
        (_glyph(_font_for(letter, rng), letter, bend), rng.uniform(0.92, 1.08))
        for letter in letters
    ]
    natural = sum(glyph.width * stretch for glyph, stretch in glyphs)
    squeeze = min(1.0, (SMALL_WIDTH - 2 * MARGIN - GAP * len(glyphs)) / natural)
    gap = (SMALL_WIDTH - 2 * MARGIN - natural * squeeze) / len(glyphs)
    left = MARGIN + gap / 2
    phase, turn = rng.uniform(0, math.tau), math.tau / rng.uniform(55, 90)
    for glyph, stretch in glyphs:
        width = glyph.width * stretch * squeeze
        # The letters stand on a wave: here they are so much lower, and it goes down so steeply.
        along = turn * (left + width / 2) + phase
        fall, slope = 2 * math.sin(along), 2 * turn * math.cos(along)
        _place(line, glyph, (left, fall), width, slope, rng)
        left += width + gap
    return line


def _place(
    line: Image.Image,
    glyph: Image.Image,
    corner: tuple[float, float],
    width: float,
    slope: float,
    rng: random.Random,
) -> None:
    left, fall = corner
    edge = int(left) - TILE_PADDING
    centre = (
        left - edge + width / 2,
        BASELINE - CAP_HEIGHT / 2 + fall + rng.uniform(-2.5, 2.5),
    )
    tile = glyph.transform(
        (int(width) + 2 * TILE_PADDING, SMALL_HEIGHT),
        Image.Transform.AFFINE,
        _tilt(glyph, width / glyph.width, centre, slope, rng),
        Image.Resampling.BILINEAR,
    )
    line.paste(255, (edge, 0), tile)


def _tilt(
    glyph: Image.Image,
    stretch: float,
    centre: tuple[float, float],
    slope: float,
    rng: random.Random,
) -> tuple[float, ...]:
    """Map the tile back to the glyph: the inverse of stretch, shear, rotation and slope."""
    angle, shear = math.radians(rng.uniform(-8, 8)), rng.uniform(-0.1, 0.1)
    cos, sin = math.cos(angle), math.sin(angle)
    b = (sin - shear * cos) / stretch
    a, c = (cos + shear * sin) / stretch - b * slope, -sin - cos * slope
    x, y = centre
    return (
        *(a, b, glyph.width / 2 - a * x - b * y),
        *(c, cos, GLYPH_BASELINE - CAP_HEIGHT / 2 - c * x - cos * y),
    )


def _font_for(letter: str, rng: random.Random) -> str:
    return rng.choice([font for font, unclear in FONTS.items() if letter not in unclear])


@cache
def _glyph(font_name: str, letter: str, bend: int) -> Image.Image:
    font = _font(font_name)
    left, _, right, _ = font.getbbox(letter, anchor="ls")
    glyph = Image.new("L", (math.ceil(right - left) + 2 * GLYPH_PADDING, GLYPH_HEIGHT))
    start = (GLYPH_PADDING - left, GLYPH_BASELINE)
    ImageDraw.Draw(glyph).text(start, letter, 255, font, anchor="ls")
    return _bent(glyph, math.tau * bend / BENDS)


def _bent(glyph: Image.Image, phase: float) -> Image.Image:
    """Sway the upright lines, as no tilt does: once for each glyph, since this is what costs."""
    width, height = glyph.size
    rows = [(y, 1.5 * math.sin(y / 9 + phase)) for y in (*range(0, height, 10), height)]
    mesh = [
        ((0, top, width, foot), (x0, top, x1, foot, width + x1, foot, width + x0, top))
        for (top, x0), (foot, x1) in pairwise(rows)
    ]
    return glyph.transform(glyph.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    # The basic layout is the one that every build of Pillow has.
    font = ImageFont.truetype(FONT_DIR / name, 200, layout_engine=ImageFont.Layout.BASIC)
    cap_height = -font.getbbox("H", anchor="ls")[1]
    return font.font_variant(size=200 * CAP_HEIGHT / cap_height)


def _bands(rng: random.Random) -> Image.Image:
    bands = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(bands)
    # Steep enough to cross every letter: flatter bands hide little from programs.
    angle = math.radians(rng.uniform(31, 149))
    edge = _band_edge(angle, rng)
    left = -max(edge)[0] - rng.uniform(0, 40)
    while left + min(edge)[0] < WIDTH:
        right = left + rng.uniform(16, 22) / math.sin(angle)
        outline = [(left + x, y) for x, y in edge] + [(right + x, y) for x, y in reversed(edge)]
        pen.polygon(outline, 255)
        left = right + rng.uniform(16, 22) / math.sin(angle)
    return bands


def _soft(bands: Image.Image) -> Image.Image:
    """Four of them side by side, one pixel apart: they are steep enough for that to blur them."""
    for apart in (1, 2):
        bands = Image.blend(bands, ImageChops.offset(bands, apart, 0), 0.5)
    return bands


def _band_edge(angle: float, rng: random.Random) -> list[tuple[float, float]]:
    """Return the wavy line that all bands of one picture follow, from the top to the bottom."""
    phase, length = rng.uniform(0, math.tau), rng.uniform(50, 90)
    swing = 5 / math.sin(angle)
    return [
        (y / math.tan(angle) + swing * math.sin(math.tau * y / length + phase), y)
        for y in range(0, HEIGHT + 8, 8)
    ]


def _patches(rng: random.Random) -> Image.Image:
    """White where letters are soft and bands hard: wider than a letter."""
    patches = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(patches)
    left, is_white = rng.uniform(-40, 0), rng.random() < 0.5
    while left < WIDTH + 24:
        right, lean = left + rng.uniform(40, 68), rng.uniform(-24, 24)
        if is_white:
            pen.polygon([(left, 0), (right, 0), (right + lean, HEIGHT), (left + lean, HEIGHT)], 255)
        left, is_white = right, not is_white
    return patches


def _specks(rng: random.Random) -> Image.Image:
    specks = Image.new("L", (SMALL_WIDTH, SMALL_HEIGHT))
    pen = ImageDraw.Draw(specks)
    for _ in range(32):
        x, y = rng.uniform(0, SMALL_WIDTH), rng.uniform(0, SMALL_HEIGHT)
        radius = rng.uniform(0.4, 0.8)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    return specks


def _png(picture: Image.Image, rng: random.Random) -> bytes:
    # Within these ranges the contrast is over 7:1 (WCAG 2.2, 1.4.6).
    light = [rng.randint(225, 250) for _ in "rgb"]
    dark = [rng.randint(10, 70) for _ in "rgb"]
    indexed = picture.point(SHADE_OF)
    indexed.putpalette(_blend(light, dark) + dark * (COLOURS - SHADES))
    png = BytesIO()
    # To look further for what repeats saves little more, and costs several times as much.
    indexed.save(png, "PNG", compress_level=2)
    return png.getvalue()


def _blend(first: list[int], last: list[int]) -> list[int]:
    steps = [step / (SHADES - 1) for step in range(SHADES)]
    return [round(a + (b - a) * step) for step in steps for a, b in zip(first, last, strict=True)]
