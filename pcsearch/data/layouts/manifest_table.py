"""The rows of a manifest: a CSV or Parquet file that lists images, one a row."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcsearch.errors import UserError
from pcsearch.io import not_the_file, open_regular, read_regular
from pcsearch.printable import file_name

BOX_COLUMNS = ("x", "y", "w", "h")
_REQUIRED = ("path", "label")
_KNOWN = (*_REQUIRED, "split", "group", *BOX_COLUMNS)
_GROUP_NAMES = ("groups", "group_id", "groupid", "grp")
_SPLIT_NAMES = frozenset(
    {"splits", "split_name", "split_id", "data_split", "set", "subset", "data_set", "partition"}
    | {"fold", "folds", "kfold", "k_fold", "cv_fold", "holdout", "hold_out", "held_out"}
    | {"train", "training", "val", "valid", "validation", "test", "testing"}
    | {"train_test", "train_val", "train_val_test", "train_test_split", "train_valid_test"}
    | {"is_train", "is_training", "is_val", "is_valid", "is_validation", "is_test", "is_testing"}
    | {"is_holdout", "in_train", "in_val", "in_test", "for_training", "for_test"}
)
_SPLIT_WORDS = frozenset(
    {"train", "training", "trn", "trainval", "val", "valid", "validation", "dev", "eval"}
    | {"evaluation", "test", "testing", "tst", "holdout", "publictest", "privatetest"}
)
"""Names, and cells, of columns that would be ignored silently, although they keep parts apart."""
_MOST_ROWS = 20_000_000
_MOST_BYTES = 4_000_000_000
_DELIMITERS = (",", ";", "\t")
_COLUMN = re.compile(r"[\w ./()-]{0,40}")
_MOST_COLUMNS = 40
_EXCEL_LINE = re.compile(r"""["']?sep=([^\w\s"']|\t)["']?[;,\t ]*(?=[\r\n])""", re.IGNORECASE)
_FORMULA = re.compile(r"'*\s*[=+@\t\r]|'*\s*-(?!\.?\d[\d.]*\s*$)")
"""The beginning of a formula for a spreadsheet. A negative number is none."""
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another zip file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@dataclass(frozen=True)
class ManifestTable:
    """The cells of a manifest.

    Attributes:
        file: the manifest.
        columns: name → n cells, for each known column of the manifest. Cells are stripped, except
            paths; empty cells are "".
        ignored: names of the other columns, as written.
        lines: [n] where each row begins, from 1: the line of a CSV file, the row of a Parquet file.
        unit: what `lines` counts, "line" or "row".
    """

    file: Path
    columns: dict[str, list[str]]
    ignored: tuple[str, ...]
    lines: Sequence[int]
    unit: str

    def where(self, row: int) -> str:
        """For example `birds.csv, line 5`."""
        return f"{self.file}, {self.unit} {self.lines[row]}"


def read_manifest(path: Path) -> ManifestTable:
    """The manifest's rows in their order.

    CSV files are UTF-8, with or without a byte order mark. Fields are separated by commas,
    semicolons or tabs, or as a first line `sep=` of Excel says, and may be quoted. Any line ends
    are accepted; blank lines are skipped. Case does not matter in column names. Unknown columns are
    ignored, except those that look like `split` or `group` by their names or cells.

    A byte of a path that is not UTF-8 is written `\\udcf6`, as `data verify --write-manifest` does.

    Raises:
        UserError: the file cannot be read, has no rows, or lacks or misspells a column; or a row
            has too few or too many cells, or an empty path or label. The message names the line.
    """
    try:
        with open_regular(path) as file:
            start = file.read(4)
        content = b"" if start == b"PAR1" else read_regular(path)
    except OSError as error:
        raise UserError(
            f"manifest {path} cannot be read: {error.strerror}; check the path (data.manifest, or "
            "--manifest)."
        ) from error
    if reason := not_the_file(content[:32]):
        raise UserError(f"manifest {path} is {reason}.")
    table = _parquet(path) if start == b"PAR1" else _csv(path, content)
    if not table.lines:
        raise UserError(f"{path} lists no images: it has a header, but no rows.")
    for name in _REQUIRED:
        if "" in table.columns[name]:
            raise UserError(
                f"{table.where(table.columns[name].index(''))}: the {name} is empty; fill it in, "
                "or remove the row."
            )
    return table


def _csv(path: Path, content: bytes) -> ManifestTable:
    text, stated = _without_excel_line(_text(path, content))
    header, delimiter = _header(path, text, stated)
    where = _positions(path, header)
    rows: list[list[str]] = []
    lines: list[int] = []
    spaced = all(name.startswith(" ") for name in header[1:])
    for line, cells in _rows(path, text, delimiter, spaced):
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(cells)} cells, but the header names {len(header)} "
                f"columns. Put a cell that contains {delimiter!r} in double quotes."
            )
        rows.append(cells)
        lines.append(line)
    ignored = [i for i in range(len(header)) if i not in where.values()]
    if "split" not in where:
        for i in ignored:
            _refuse_split_cells(path, header[i], (cells[i] for cells in rows))
    columns = {
        name: _column((_as_written(cells[i]) for cells in rows), name) for name, i in where.items()
    }
    return ManifestTable(path, columns, tuple(header[i] for i in ignored), lines, "line")


def _without_excel_line(text: str) -> tuple[str, str]:
    """The text with its first line emptied if it is Excel's `sep=;`; and this separator, or ""."""
    found = _EXCEL_LINE.match(text)
    return (text, "") if found is None else (text[found.end() :], found[1])


def _text(path: Path, content: bytes) -> str:
    for mark, kind in _NOT_TEXT.items():
        if content.startswith(mark):
            raise UserError(f"{path} is {kind}: save it as CSV in UTF-8, or as Parquet.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8.") from error


def _header(path: Path, text: str, stated: str) -> tuple[list[str], str]:
    """The column names as written, and the delimiter that gives the most known names.

    `stated` is the delimiter that the file itself names, or "".
    """
    first = next((line for line in io.StringIO(text, newline="") if line.strip(" \r\n")), "")
    if not first:
        raise UserError(f"{path} is empty: its first line must name the columns path and label.")
    best: tuple[int, list[str], str] = (-1, [], ",")
    for delimiter in (stated, *_DELIMITERS) if stated else _DELIMITERS:
        header = next(csv.reader([first], delimiter=delimiter), [])
        known = sum(_plain(name) in _KNOWN for name in header)
        if known > best[0]:
            best = (known, header, delimiter)
    return best[1], best[2]


def _rows(path: Path, text: str, delimiter: str, spaced: bool) -> Iterator[tuple[int, list[str]]]:
    """The non-blank rows below the header, each with the line where it begins.

    With `spaced`, a space after a delimiter belongs to neither cell.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced
    )
    header_passed = False
    line = 1
    try:
        for cells in reader:
            if "".join(cells).strip():
                if header_passed:
                    yield line, cells
                header_passed = True
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: {error}. Is a double quote missing, or one too many?"
        ) from error


def _parquet(path: Path) -> ManifestTable:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UserError(
            f"{path} is a Parquet file, which needs pyarrow: run `pip install pyarrow`, or save "
            "the manifest as CSV."
        ) from error
    try:
        with open_regular(path) as content:
            schema = parquet.read_schema(content)
            content.seek(0)
            texts = [field.name for field in schema if pyarrow.types.is_string(field.type)]
            file = parquet.ParquetFile(content, read_dictionary=texts)
            if file.metadata.num_rows > _MOST_ROWS:
                raise UserError(
                    f"{path} lists {file.metadata.num_rows:,} images; at most {_MOST_ROWS:,} are "
                    "read."
                )
            where = _positions(path, file.schema_arrow.names)
            names = file.schema_arrow.names
            wanted = {name: names[position] for name, position in where.items()}
            _check_size(path, file, set(wanted.values()))
            table = file.read(columns=list(wanted.values()))
            ignored = [name for name in names if name not in wanted.values()]
            if "split" not in where:
                _refuse_split_columns(path, file, [name for name in ignored if name in texts])
        columns = {
            name: _column(map(_cell, _values(table[written])), name)
            for name, written in wanted.items()
        }
    except UserError:
        raise
    except Exception as error:  # pyarrow's errors derive from several built-in ones
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error
    return ManifestTable(path, columns, tuple(ignored), range(1, table.num_rows + 1), "row")


def _refuse_split_columns(path: Path, file: Any, names: Sequence[str]) -> None:
    """`_refuse_split_cells` for text columns of a Parquet file, by its first block of rows."""
    if not names or not file.metadata.num_row_groups:
        return
    block = file.read_row_group(0, columns=list(names))
    for name in names:
        _refuse_split_cells(path, name, map(_cell, _values(block[name])))


def _refuse_split_cells(path: Path, name: str, cells: Iterable[str]) -> None:
    """Refuse an unknown column whose cells are all names of parts."""
    words: set[str] = set()
    for cell in cells:
        words.add(cell.strip().casefold())
        if not words <= _SPLIT_WORDS | {""}:
            return
    words.discard("")
    if words:
        raise UserError(
            f"{path} has a column {name.strip()!r} with {', '.join(sorted(words))}, which would be "
            "ignored. Name it split, with train, val or test in every row; or remove it: then a "
            "fresh split is made."
        )


def _check_size(path: Path, file: Any, wanted: Collection[str]) -> None:
    """UserError if the columns unpack to more bytes than any real manifest."""
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    unpacked = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema in wanted)
    if unpacked > _MOST_BYTES:
        raise UserError(
            f"{path} unpacks to {unpacked / 1e9:.1f} GB; at most {_MOST_BYTES / 1e9:.0f} GB are "
            "read. Is it a manifest?"
        )


def _values(column: Any) -> Iterator[object]:
    """The cells of a column. Rows with the same text share one object, which saves memory."""
    for chunk in column.chunks:
        if not hasattr(chunk, "dictionary"):
            yield from chunk.to_pylist()
            continue
        texts = chunk.dictionary.to_pylist()
        yield from (None if at is None else texts[at] for at in chunk.indices.to_pylist())


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN is how pandas writes an empty cell
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _positions(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Name → position of each known column."""
    plain = [_plain(name) for name in header]
    for name in _KNOWN:
        if plain.count(name) > 1:
            raise UserError(f"{path} has several columns named {name}: keep one of them.")
    for name, other in zip(header, plain, strict=True):
        word = re.sub(r"[\W_]+", "_", other).strip("_")
        if other in _GROUP_NAMES and "group" not in plain:
            raise UserError(
                f"{path} has a column {name.strip()!r}, which would be ignored; rename it to "
                "'group' if you mean that, else give it another name."
            )
        if word in _SPLIT_NAMES and "split" not in plain:
            raise UserError(
                f"{path} has a column {name.strip()!r}, which would be ignored and replaced by a "
                "fresh split. Rename it to 'split', with train, val or test in every row, if you "
                "mean that; else remove it or give it another name."
            )
    for name in _REQUIRED:
        if name not in plain:
            others = [other for other in plain if other not in _KNOWN]
            close = difflib.get_close_matches(name, others, n=1)
            hint = f'; is "{close[0]}" meant to be it?' if close else ""
            raise UserError(
                f"{path} has no column {name}{hint} ({_named(header)}). The columns are path and "
                "label and, optionally, split, group and x, y, w, h."
            )
    boxes = [name for name in BOX_COLUMNS if name in plain]
    if boxes and len(boxes) < len(BOX_COLUMNS):
        raise UserError(
            f"{path} has {', '.join(boxes)}, but a box takes all of {', '.join(BOX_COLUMNS)} "
            "(pixels): add the others, or rename these."
        )
    return {name: plain.index(name) for name in _KNOWN if name in plain}


def _named(header: Sequence[str]) -> str:
    """The names in the first line. Shown only if they look like names: a file that is no table may
    hold secrets."""
    names = [name.strip() for name in header]
    several = 1 < len(names) <= _MOST_COLUMNS
    if not several or not all(_COLUMN.fullmatch(name) for name in names):
        return "its first line does not look like names of columns"
    return f"its first line names: {', '.join(names)}"


def _column(cells: Iterable[str], name: str) -> list[str]:
    if name == "path":  # a file's name may begin or end with spaces
        return [file_name(cell) if cell.strip() else "" for cell in cells]
    return [cell.strip() for cell in cells]


def as_text(cell: str) -> str:
    """The cell, with an apostrophe before it if a spreadsheet would take it for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _as_written(cell: str) -> str:
    """The inverse of `as_text`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _plain(name: str) -> str:
    return name.strip().casefold()
