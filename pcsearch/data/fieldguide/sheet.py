"""A contact sheet: the guide's species, a row each, with their names."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from pcsearch.data.fieldguide.drawing import draw, portrait
from pcsearch.data.fieldguide.names import species_names
from pcsearch.data.fieldguide.options import FieldguideOptions

_PAPER, _INK, _FAINT = (250, 246, 234), (58, 50, 40), (206, 196, 174)


def contact_sheet(options: FieldguideOptions, columns: int, rows: int) -> Image.Image:
    """The first `rows` species, each with its plate portrait, `columns` pictures and its name.

    The pictures are the set's own, at the set's size; `rows` is cut to the number of species.
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
            picture, _ = draw(options, species, column)
            sheet.paste(picture, (gap + (column + 1) * (size + gap), top))
        painter.text((gap + 1, top + size + 1), name, fill=_INK, font=font)
        rule = top + size + caption
        painter.line((gap, rule, width - gap, rule), fill=_FAINT)
    return sheet
