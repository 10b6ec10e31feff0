"""Where trials run: what they all need besides their specifications."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Workplace:
    """What every trial of a campaign needs besides its specification.

    Attributes:
        recipe: The resolved recipe, as YAML.
        cache: Folder of decoded images on this node.
        data: Folder of the files with labels that the driver handed over.
        checkpoints: Folder for checkpoints, a folder a trial in it.
        weights: Folder for the weights that are kept.
        cpus: Threads a trial may use.
        gpus: GPUs a trial was given, 0 for the CPU.
        split_hashes: Study id → hash of its train-validation split: a worker that finds other
            counts or labels than were planned with must not train on them.
        import_path: The driver's folder, where a backbone of the user's own (`module:function`)
            is imported from.
        allowed_code: Modules that may be imported for such a backbone.
        version: The driver's pcsearch: a node with another one would train by other code. None is
            not compared.
        code: A hash of the files of pcsearch and of each such module, as the driver found them: a
            worker that finds others must not train by them.
        remote: The address of the run where it lies in an object store; the three folders are not
            used then.
    """

    recipe: str
    cache: str
    data: str
    checkpoints: str
    weights: str
    cpus: int
    gpus: float
    split_hashes: dict[str, str]
    import_path: str
    allowed_code: tuple[str, ...] = ()
    version: str | None = None
    code: dict[str, str] = field(default_factory=dict)
    remote: str | None = None
