"""A procedural fine-grained image set: look-alike birds, drawn from a seed, with boxes."""

from __future__ import annotations

from pcsearch.data.fieldguide.drawing import contact_sheet, draw_bird
from pcsearch.data.fieldguide.options import FieldguideOptions, images_of_species
from pcsearch.data.fieldguide.species import species_names

__all__ = ["FieldguideOptions", "contact_sheet", "draw_bird", "images_of_species", "species_names"]
