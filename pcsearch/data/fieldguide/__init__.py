"""A procedural fine-grained image set: look-alike birds, drawn from a seed, with boxes."""

from __future__ import annotations

from pcsearch.data.fieldguide.drawing import draw
from pcsearch.data.fieldguide.names import species_names
from pcsearch.data.fieldguide.options import FieldguideOptions, images_of_species
from pcsearch.data.fieldguide.sheet import contact_sheet

__all__ = ["FieldguideOptions", "contact_sheet", "draw", "images_of_species", "species_names"]
