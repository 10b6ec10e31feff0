"""Natural colours for plumage, bills, bark, leaves and backgrounds (red, green, blue in 0..1)."""

from __future__ import annotations

Colour = tuple[float, float, float]


def _rgb(code: str) -> Colour:
    red, green, blue = (int(code[start : start + 2], 16) / 255 for start in (0, 2, 4))
    return red, green, blue


def _all(codes: str) -> tuple[Colour, ...]:
    return tuple(_rgb(code) for code in codes.split())


# upper side, wing, under side, face; a genus has one of the first five, the common drab ones
PLUMAGES: tuple[tuple[Colour, ...], ...] = tuple(
    _all(codes)
    for codes in (
        "86824c 56543a e6dcb4 9c9664",
        "74859c 46505f e6e8e8 8d9aaa",
        "a86e44 674832 ecd8bc bc8e62",
        "937656 5c4a3a eadfca a98e6e",
        "96948e 565452 eeebe4 a8a59e",
        "4f79ac 2f4766 d6e0ea 6d90b8",
        "93963f 4c4c33 f0de7c aeac52",
        "3b393e 26262a e6e4de 4a484c",
        "96665f 584240 efc9ba ad7c72",
        "5f7a5c 3c4b40 dfe3c8 7b9272",
    )
)
ACCENTS: tuple[Colour, ...] = _all("242226 6b3d22 a84a24 e4b42c d8642a a62c2a 38548a c8b89a")
PALES: tuple[Colour, ...] = _all("f8f6ee f4e8c8 f6e48c")
BILL_COLOURS: tuple[Colour, ...] = _all("3a3634 6a5c50 b08a54 4c5460")
LEGS: tuple[Colour, ...] = _all("4a4038 7a5a48 a07a5c 505660")

BARK: tuple[Colour, ...] = _all("6a5744 7d6c5a 54463a 8a8378 5d5c40")
LEAVES: tuple[Colour, ...] = _all("5c7a3a 7c9448 46683c 9c9a48 b08a3c 8a5a34 3c5c44")
# sky, middle distance, ground
BACKGROUNDS: tuple[tuple[Colour, ...], ...] = tuple(
    _all(codes)
    for codes in (
        "c6d8e4 a9bfae 7f9668",
        "d8e0d0 9db487 5e7c4a",
        "e6dfc8 c9b98c 9a8558",
        "dfe6ea c4ccd0 a2aaae",
        "f0e0c4 d8b48c a0805c",
        "b4c8b8 6f8f68 3f5c40",
        "d4dcec b4b8cc 8c90a0",
        "ccd6a8 94a860 66783c",
    )
)
