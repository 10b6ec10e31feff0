"""Checks pickles from strangers before anything reads them.

Readers that build no objects (`weights_only=True`, CIFAR's) still crash on a pickle that nests ten
thousand tuples, and nine bytes can fill the memory. This module follows the instructions without
executing them. It checks how deep values nest, how many there are, and how far the memo reaches.
"""

from __future__ import annotations

import pickletools
import zipfile
from typing import BinaryIO

_MOST_INSTRUCTIONS = 3_000_000
"""A checkpoint of a thousand tensors has a hundred thousand."""

_DEEPEST = 100
_LEGACY_PICKLES = 5
"""What torch.save wrote before 2020: magic number, protocol, system, content, keys."""

_BUILT_WITH_A_SIZE = "bytearray"  # `weights_only` allows it


def check_torch_file(file: BinaryIO) -> None:
    """Check the pickles that torch.load would read from a file, then rewind it.

    torch.save compresses nothing, so parts that unpack to more than the file's size are a trap.

    Raises:
        ValueError: it nests too deeply, is too long, or is larger than its file; with the reason.
    """
    try:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                check_pickle(file)
            return
        size = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise ValueError("it is compressed; PyTorch's files are not")
            if sum(part.file_size for part in parts) > size:
                raise ValueError("its parts are longer than the file")
            for part in parts:
                if part.filename.endswith(".pkl"):
                    with archive.open(part) as content:
                        check_pickle(content)
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    finally:
        file.seek(0)


def check_pickle(file: object) -> None:
    """Follow one pickle from a file's position to its end.

    Raises:
        ValueError: it cannot be followed, or exceeds the limits above.
    """
    try:
        _follow(file)
    except (IndexError, TypeError, KeyError) as error:
        raise ValueError("its instructions do not fit together") from error


def _follow(file: object) -> None:
    stack: list[int | None] = []  # how deep each value nests; None is a mark
    memo: dict[int, int] = {}

    def until_mark() -> int:
        deepest = 0
        while (depth := stack.pop()) is not None:
            deepest = max(deepest, depth)
        return deepest

    def popped(count: int) -> int:
        return max((stack.pop() or 0 for _ in range(count)), default=0)

    def push(depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"its values nest more than {_DEEPEST} deep")
        stack.append(depth)

    for number, (instruction, argument, _) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
        name = instruction.name
        if number > _MOST_INSTRUCTIONS:
            raise ValueError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")
        if name == "GLOBAL" and str(argument).rpartition(" ")[2] == _BUILT_WITH_A_SIZE:
            raise ValueError("it allocates memory for bytes that it does not hold")
        match name:
            case "MARK":
                stack.append(None)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                if int(argument or 0) > _MOST_INSTRUCTIONS:
                    raise ValueError("its memo reaches further than its instructions")
                memo[int(argument or 0)] = stack[-1] or 0
            case "MEMOIZE":
                memo[len(memo)] = stack[-1] or 0
            case "GET" | "BINGET" | "LONG_BINGET":
                push(memo[int(argument or 0)])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(popped(int(name[-1])) + 1)
            case "TUPLE" | "LIST" | "DICT" | "FROZENSET" | "OBJ" | "INST":
                push(until_mark() + 1)
            case "APPENDS" | "ADDITEMS" | "SETITEMS":
                inner = until_mark()
                push(max(popped(1), inner + 1))
            case "APPEND" | "SETITEM" | "BUILD":
                inner = popped(2 if name == "SETITEM" else 1)
                push(max(popped(1), inner + 1))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                push(popped(3 if name == "NEWOBJ_EX" else 2) + 1)
            case "POP_MARK":
                until_mark()
            case "DUP":
                push(stack[-1] or 0)
            case _:
                popped(len(instruction.stack_before))
                stack.extend([0] * len(instruction.stack_after))
