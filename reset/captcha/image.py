"""The captcha's picture: soft letters, inverted inside hard wavy bands and specks."""

import math
import random
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT = 360, 100
CAP_HEIGHT = 50
BASELINE = 70
GLYPH_HEIGHT, GLYPH_BASELINE = 80, 56
MARGIN, GAP = 6, 4
SHADES = 16
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
    """Draw *letters* as a PNG; the same letters and seed always give the same bytes.

    *seed* decides everything but the letters and must be secret: who knows it can undo the drawing.
    """
    rng = random.Random(seed)
    soft = _wave(_line(letters, rng), rng).filter(ImageFilter.GaussianBlur(1.1))
    hard = ImageChops.difference(_bands(rng), _specks(rng))
    return _png(ImageChops.difference(soft, hard), rng)


def _line(letters: str, rng: random.Random) -> Image.Image:
    line = Image.new("L", (WIDTH, HEIGHT))
    glyphs = [_glyph(rng.choice(_fonts(letter)), letter) for letter in letters]
    stretches = [rng.uniform(0.92, 1.08) for _ in glyphs]
    natural = sum(g.width * s for g, s in zip(glyphs, stretches, strict=True))
    free = WIDTH - 2 * MARGIN - GAP * len(glyphs)
    # Wide answers are squeezed, narrow ones spread: every picture is filled alike.
    squeeze = min(1.0, free / natural)
    gap = GAP + (free - natural * squeeze) / len(glyphs)
    left = MARGIN + gap / 2
    for glyph, stretch in zip(glyphs, stretches, strict=True):
        width = glyph.width * stretch * squeeze
        _place(line, glyph, left + width / 2, stretch * squeeze, rng)
        left += width + gap
    return line


def _place(
    line: Image.Image, glyph: Image.Image, centre: float, stretch: float, rng: random.Random
) -> None:
    angle, shear = math.radians(rng.uniform(-8, 8)), rng.uniform(-0.1, 0.1)
    middle = BASELINE - CAP_HEIGHT / 2 + rng.uniform(-5, 5)
    left = int(centre - glyph.width * stretch / 2) - 14
    cos, sin = math.cos(angle), math.sin(angle)
    # The inverse of stretch, then shear, then rotation, about the middle of a capital.
    a, b = (cos - shear * sin) / stretch, (sin + shear * cos) / stretch
    x, y = centre - left, middle
    matrix = (
        a, b, glyph.width / 2 - a * x - b * y,
        -sin, cos, GLYPH_BASELINE - CAP_HEIGHT / 2 + sin * x - cos * y,
    )  # fmt: skip
    size = (int(glyph.width * stretch) + 30, HEIGHT)
    tile = glyph.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    line.paste(255, (left, 0), tile)


def _fonts(letter: str) -> list[str]:
    return [font for font, unclear in FONTS.items() if letter not in unclear]


@cache
def _glyph(font_name: str, letter: str) -> Image.Image:
    font = _font(font_name)
    left, _, right, _ = font.getbbox(letter, anchor="ls")
    glyph = Image.new("L", (math.ceil(right - left), GLYPH_HEIGHT))
    ImageDraw.Draw(glyph).text((-left, GLYPH_BASELINE), letter, 255, font, anchor="ls")
    return glyph


@cache
def _font(name: str) -> ImageFont.FreeTypeFont:
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
        (
            (x, y, x + 20, y + 25),
            source(x, y) + source(x, y + 25) + source(x + 20, y + 25) + source(x + 20, y),
        )
        for x in range(0, WIDTH, 20)
        for y in range(0, HEIGHT, 25)
    ]
    return line.transform(line.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _bands(rng: random.Random) -> Image.Image:
    bands = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(bands)
    angle = math.radians(rng.uniform(31, 149))
    lean, sin = 1 / math.tan(angle), math.sin(angle)
    phase, length = rng.uniform(0, math.tau), rng.uniform(50, 90)
    edge = [
        (y * lean + 5 / sin * math.sin(math.tau * y / length + phase), y)
        for y in range(0, HEIGHT + 1, 4)
    ]
    left = -abs(HEIGHT * lean) - rng.uniform(0, 40)
    while left < WIDTH + abs(HEIGHT * lean):
        right = left + rng.uniform(16, 22) / sin
        pen.polygon(
            [(left + x, y) for x, y in edge] + [(right + x, y) for x, y in reversed(edge)], 255
        )
        left = right + rng.uniform(16, 22) / sin
    return bands


def _specks(rng: random.Random) -> Image.Image:
    specks = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(specks)
    for _ in range(32):
        x, y, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(1.3, 2.2)
        pen.ellipse((x - r, y - r, x + r, y + r), 255)
    return specks


def _png(picture: Image.Image, rng: random.Random) -> bytes:
    dark = [rng.randint(10, 70) for _ in "rgb"]
    light = [rng.randint(225, 250) for _ in "rgb"]
    steps = [step / (SHADES - 1) for step in range(SHADES)]
    palette = [
        round(a + (b - a) * step) for step in steps for a, b in zip(light, dark, strict=True)
    ]
    indexed = picture.point([value * SHADES // 256 for value in range(256)])
    indexed.putpalette(palette)
    out = BytesIO()
    indexed.save(out, "PNG", bits=4)
    return out.getvalue()
