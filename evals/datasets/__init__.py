"""Where knowledge comes from: ``load`` with a source by name.

``demo``: the invented world of ``models.demo``.
``tofu:FOLDER[,split=forget10][,holdout=rest]``: TOFU's files.
``jsonl:FILE[,split=forget]``: questions with answers, one JSON object in each line.
``hub:locuslab/TOFU[,split=forget10]``, ``hub:muse-bench/MUSE-News``, ``hub:muse-bench/MUSE-Books``,
``hub:cais/wmdp[,mmlu=yes]``, ``hub:jinzhuoran/RWKU[,targets=10]``: through ``datasets``.
"""

from evals.datasets.source import Source, UnknownSource
from evals.knowledge import Knowledge

__all__ = ["UnknownSource", "load"]


def load(source: str, rows: int | None = None, seed: int = 0) -> Knowledge:
    """What the source holds.

    rows: at most so many facts, passages and choices of each split; None is all.  TOFU's files are
    cut after the first rows, as its own evaluation does (which says what is to be forgotten there);
    others are sampled with the seed.  Raises UnknownSource, OSError where something cannot be read,
    and ValueError for rows in another format, naming the row.
    """
    named = Source.parse(source)
    if rows is not None and rows < 1:
        raise ValueError("rows must be at least 1")
    if named.kind == "demo":
        from evals.datasets.demo import demo

        return demo(rows, seed)
    if named.kind == "tofu":
        from evals.datasets.tofu import from_folder

        return from_folder(named, rows)
    if named.kind == "jsonl":
        from evals.datasets.jsonl import from_file

        return from_file(named, rows, seed)
    from evals.datasets.hub import from_hub

    return from_hub(named, rows, seed)
