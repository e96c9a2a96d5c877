"""Draws characters of the fonts that come with Matplotlib: a data set that anybody can make.

A character is an identity, a folder named U+0041 for A. Each of its images is drawn in another face
of a font (serif, sans, bold, italic, ...), turned, sheared, scaled and moved a little, with noise.

python configs/glyphs/glyphs.py --out=glyphs-28
"""

import argparse
import os
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

SIDE = 28
DRAWN = 112  # pixels a side, before the image is made small
IMAGES = 10  # of a character
FEWEST_FACES = 8  # that have a character
SEED = 0
LETTERS_AND_SIGNS = "LNSP"  # first letters of the kinds of Unicode that are drawn


def characters_by_face() -> dict[str, set[int]]:
    """Returns the characters of each font file, by its path."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    found = {}
    for path in sorted([*folder.glob("DejaVu*.ttf"), *folder.glob("STIXGeneral*.ttf")]):
        found[str(path)] = set(FT2Font(str(path)).get_charmap())
    return found


def to_draw(faces: dict[str, set[int]]) -> dict[int, list[str]]:
    """Returns the faces of each character that enough of them have; of equal shapes the first."""
    found = {}
    shapes = set()
    for character in sorted(set.union(*faces.values())):
        of_character = [path for path, has in faces.items() if character in has]
        kind = unicodedata.category(chr(character))[0]
        if len(of_character) < FEWEST_FACES or kind not in LETTERS_AND_SIGNS:
            continue
        shape = plain(character, of_character[0]).tobytes()
        if shape not in shapes:  # the Greek and the Cyrillic A are drawn as the Latin one is
            shapes.add(shape)
            found[character] = of_character
    return found


@cache
def font_of(face: str) -> ImageFont.FreeTypeFont:
    """Returns a face at the size in which characters are drawn."""
    return ImageFont.truetype(face, int(DRAWN * 0.6))


def plain(character: int, face: str) -> Image.Image:
    """Returns a character as one face has it."""
    picture = Image.new("L", (DRAWN, DRAWN), 255)
    middle = (DRAWN / 2, DRAWN / 2)
    ImageDraw.Draw(picture).text(middle, chr(character), fill=0, font=font_of(face), anchor="mm")
    return picture


def drawn(character: int, face: str, draw: np.random.Generator) -> Image.Image:
    """Returns a character as one face has it, a little off."""
    moved = plain(character, face).transform(
        (DRAWN, DRAWN),
        Image.Transform.AFFINE,
        affine(draw),
        Image.Resampling.BILINEAR,
        fillcolor=255,
    )
    small = np.asarray(moved.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    noisy = small + draw.normal(0, 12, small.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def affine(draw: np.random.Generator) -> list[float]:
    """Returns the six numbers of a small turn, shear, scale and shift about the middle."""
    angle = draw.normal(0, 0.12)  # radians
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, draw.normal(0, 0.12)], [0, 1]])
    matrix = turn @ shear * np.exp(draw.normal(0, 0.1, (2, 1)))
    middle = np.full(2, DRAWN / 2)
    shift = middle - matrix @ middle + draw.normal(0, 0.04 * DRAWN, 2)
    return [*matrix[0], shift[0], *matrix[1], shift[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws characters of the fonts of Matplotlib.")
    parser.add_argument("--out", type=Path, required=True, help="folder that is made")
    out: Path = parser.parse_args().out
    if out.exists():
        raise SystemExit(f"{out} is there already; remove it or choose another folder")
    characters = to_draw(characters_by_face())
    beside = out.with_name(f"{out.name}.partial-{os.getpid()}")
    for character, faces in characters.items():
        draw = np.random.default_rng([SEED, character])
        folder = beside / f"U+{character:04X}"
        folder.mkdir(parents=True)
        for number in range(IMAGES):
            face = faces[number % len(faces)]
            drawn(character, face, draw).save(folder / f"{number:02}.png")
    beside.rename(out)
    print(f"{out}: {len(characters):,} characters, {IMAGES} images of each")


if __name__ == "__main__":
    main()
