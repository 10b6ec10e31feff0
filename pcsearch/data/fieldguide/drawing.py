"""One picture: a posed bird of one species in its surroundings, and the bird's box."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from pcsearch.data.fieldguide import anatomy, scene
from pcsearch.data.fieldguide.options import FieldguideOptions
from pcsearch.data.fieldguide.outlines import Floats, stroke
from pcsearch.data.fieldguide.plumage import Layer, Patch, species_plumage, toned
from pcsearch.data.fieldguide.pose import Pose, Rig, feet, placement, posed, random_pose, rig
from pcsearch.data.fieldguide.species import Purpose, species_names, species_traits, stream

_Box = tuple[float, float, float, float]
_PAPER = (250, 246, 234)
_SHADOW = [round(255 * min(1.0, 0.35 + 0.65 * grey / 120)) for grey in range(256)]


@dataclass(frozen=True)
class _Figure:
    """A bird placed in a picture: outlines in pixels, in painting order, and its legs."""

    patches: tuple[Patch, ...]
    outlines: tuple[Floats, ...]
    legs: tuple[Floats, ...]
    toes: Floats  # [2, 2]
    unit: float  # pixels a body unit


def _supersampling(size: int) -> int:
    """Painted pixels per kept pixel, along a side. Small pictures need more, for small marks."""
    return 4 if size < 48 else 3 if size < 160 else 2


@lru_cache(maxsize=256)
def _rigged(options: FieldguideOptions, species: int) -> tuple[Rig, tuple[int, ...]]:
    """All points of a species in one array (the hips last), and the end of each outline in it."""
    patches = species_plumage(options, species)
    points = np.concatenate([*(patch.outline for patch in patches), anatomy.HIPS])
    counts = [len(patch.outline) for patch in patches]
    wing = np.repeat([float(patch.wing) for patch in patches] + [0.0], [*counts, 2])
    return rig(points, wing), tuple(np.cumsum(counts).tolist())


def _placed(options: FieldguideOptions, species: int, pose: Pose, side: int) -> _Figure:
    rigged, ends = _rigged(options, species)
    points = posed(rigged, pose)
    toes = feet(points[-2:], pose)
    scale, shift = placement(np.concatenate([points, toes]), pose, side)
    points, toes = points * scale + shift, toes * scale + shift
    legs = []
    forward = -1.0 if pose.faces_left else 1.0
    for hip, toe in zip(points[-2:], toes, strict=True):
        knee = (hip[0] - 0.03 * forward * scale, 0.4 * hip[1] + 0.6 * toe[1])
        legs.append(stroke([tuple(hip), knee, tuple(toe)], 0.045 * scale, 0.028 * scale))
        foot = [(toe[0] - 0.05 * forward * scale, toe[1] + 0.012 * scale), tuple(toe),
                (toe[0] + 0.09 * forward * scale, toe[1] + 0.012 * scale)]  # fmt: skip
        legs.append(stroke(foot, 0.016 * scale, 0.016 * scale, 0.034 * scale))
    patches = species_plumage(options, species)
    outlines = tuple(np.split(points[:-2], ends[:-1]))
    return _Figure(patches, outlines, tuple(legs), toes, scale)


def _mask(figure: _Figure, side: int) -> Image.Image:
    mask = Image.new("L", (side, side))
    painter = ImageDraw.Draw(mask)
    solid = [
        outline
        for patch, outline in zip(figure.patches, figure.outlines, strict=True)
        if patch.layer in (Layer.BODY, Layer.OUTER) or patch.name == "wing"
    ]
    for outline in (*solid, *figure.legs):
        painter.polygon(outline.ravel().tolist(), fill=255)
    return mask


def _shading(mask: Image.Image, light: tuple[float, float]) -> Image.Image:
    """Roundness: grey 128, lighter where the outline faces the light, darker away from it."""
    side = mask.width
    small = max(16, side // 6)
    blurred = mask.resize((small, small), Image.Resampling.BOX).filter(
        ImageFilter.GaussianBlur(small / 14)
    )
    reach = small / 11
    dx, dy = (round(reach * part) for part in light)
    towards, away = ImageChops.offset(blurred, dx, dy), ImageChops.offset(blurred, -dx, -dy)
    relief = ImageChops.subtract(towards, away, scale=4.4, offset=128)
    return relief.resize((side, side), Image.Resampling.BILINEAR)


def _bird(
    figure: _Figure, mask: Image.Image, legs: tuple[float, float, float], light: tuple[float, float]
) -> Image.Image:
    """The bird's colours on a full square. Only the part under the mask is used."""
    side = mask.width
    coarse = 3
    soft = Image.new(
        "RGB", (side // coarse, side // coarse), scene.ink(figure.patches[0].colour)[:3]
    )
    painter = ImageDraw.Draw(soft, "RGBA")
    pairs = list(zip(figure.patches, figure.outlines, strict=True))
    for patch, outline in pairs:
        if patch.layer is Layer.SOFT:
            scene.fill(painter, outline / coarse, patch.colour, patch.opacity)
    soft = soft.filter(ImageFilter.GaussianBlur(0.035 * figure.unit / coarse))
    bird = soft.resize((side, side), Image.Resampling.BILINEAR)
    painter = ImageDraw.Draw(bird, "RGBA")
    for leg in figure.legs:
        scene.fill(painter, leg, legs)
    for patch, outline in pairs:
        if patch.layer in (Layer.CRISP, Layer.OUTER):
            scene.fill(painter, outline, patch.colour, patch.opacity)
    relief = _shading(mask, light)
    lit = ImageChops.overlay(bird, relief.convert("RGB"))
    shadow = relief.point(_SHADOW)  # the overlay alone leaves white parts flat
    return ImageChops.multiply(lit, shadow.convert("RGB"))


def _exposed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture with random brightness, warmth and contrast."""
    gain = rng.uniform(0.82, 1.1) * rng.uniform(0.95, 1.05, 3)
    gamma = rng.uniform(0.88, 1.15)
    levels = (np.arange(256) / 255) ** gamma
    tables = np.clip(255 * gain[:, None] * levels, 0, 255).astype(np.uint8)
    return image.point(tables.ravel().tolist())


def _box(mask: Image.Image, size: int) -> _Box:
    left, top, right, bottom = mask.getbbox() or (0, 0, mask.width, mask.height)
    pixel = size / mask.width
    return left * pixel, top * pixel, (right - left) * pixel, (bottom - top) * pixel


def draw_bird(options: FieldguideOptions, species: int, index: int) -> tuple[Image.Image, _Box]:
    """Picture number `index` of a species.

    A pure function of its arguments: the result is the same in any process and in any order.
    `index` may be any number from 0, also beyond `images_per_species`.

    Returns:
        The RGB picture, `size` × `size`, and the bird's box (x, y, width, height) in pixels. The
        box covers the whole bird, including parts behind leaves. It is inside the picture.

    Raises:
        ValueError: there is no such species, or the index is negative.
    """
    return _picture(options, species, index, with_bird=True)


def empty_scene(options: FieldguideOptions, species: int, index: int) -> Image.Image:
    """The picture of `draw_bird` without the bird."""
    return _picture(options, species, index, with_bird=False)[0]


def _picture(
    options: FieldguideOptions, species: int, index: int, *, with_bird: bool
) -> tuple[Image.Image, _Box]:
    if not 0 <= species < options.species or index < 0:
        raise ValueError(f"no picture {index} of species {species} among {options.species}")
    rng = stream(options.seed, Purpose.IMAGE, species, index)
    factor = _supersampling(options.size)
    side = options.size * factor
    pose = random_pose(rng)
    figure = _placed(options, species, pose, side)
    mask = _mask(figure, side)
    canvas = scene.background(rng, side)
    perch = scene.random_perch(rng, figure.toes, figure.unit)
    painter = ImageDraw.Draw(canvas, "RGBA")
    scene.paint_perch(painter, rng, perch, side)
    light = (float(rng.uniform(-0.8, 0.8)), -1.0)
    if with_bird:
        legs = toned(species_traits(options, species).legs, 1.0)
        canvas.paste(_bird(figure, mask, legs, light), mask=mask)
    scene.paint_occluders(painter, rng, _box(mask, side), perch)
    return _exposed(canvas.reduce(factor), rng), _box(mask, options.size)


def portrait(options: FieldguideOptions, species: int, size: int) -> Image.Image:
    """The species as on a plate: side view, even light, on paper, nothing in front."""
    side = size * _supersampling(size)
    figure = _placed(options, species, Pose(), side)
    mask = _mask(figure, side)
    canvas = Image.new("RGB", (side, side), _PAPER)
    bird = _bird(figure, mask, species_traits(options, species).legs, (0.0, -1.0))
    canvas.paste(bird, mask=mask)
    return canvas.reduce(side // size)


_INK, _FAINT = (58, 50, 40), (206, 196, 174)


def contact_sheet(options: FieldguideOptions, columns: int, rows: int) -> Image.Image:
    """The first `rows` species, each with its portrait, `columns` pictures and its name.

    The pictures are the set's own, at the set's size. `rows` is limited to the number of species.
    """
    rows = min(rows, options.species)
    size, gap = options.size, max(4, options.size // 12)
    caption = max(14, size // 5)
    font = ImageFont.load_default(size=caption * 0.72)
    width = gap + (columns + 1) * (size + gap)
    pitch = size + caption + gap
    sheet = Image.new("RGB", (width, gap + rows * pitch), _PAPER)
    painter = ImageDraw.Draw(sheet)
    for species, name in enumerate(species_names(options)[:rows]):
        top = gap + species * pitch
        sheet.paste(portrait(options, species, size), (gap, top))
        for column in range(columns):
            picture, _ = draw_bird(options, species, column)
            sheet.paste(picture, (gap + (column + 1) * (size + gap), top))
        painter.text((gap + 1, top + size + 1), name, fill=_INK, font=font)
        rule = top + size + caption
        painter.line((gap, rule, width - gap, rule), fill=_FAINT)
    return sheet
