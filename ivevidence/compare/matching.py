"""Which cell of one run answers to which of another."""

from collections.abc import Iterable

from ivevidence.records.cells import CellName


def partners(before: Iterable[CellName], after: Iterable[CellName]) -> dict[CellName, CellName]:
    """The partner, from `before`, of every cell of `after` that has one.

    Cells of the same name are partners. Of the cells that then remain, those that ask the same are
    partners if they are about one checkpoint on each side: a new checkpoint takes the old one's
    place. What only one side asks names no checkpoint that could be meant, as published numbers.
    """
    after = list(after)
    known = set(before)
    found = {name: name for name in after if name in known}
    left_before = known - found.keys()
    left_after = [name for name in after if name not in found]
    asked = {question for _, question in left_before} & {question for _, question in left_after}
    old, new = (
        {checkpoint for checkpoint, question in left if question in asked}
        for left in (left_before, left_after)
    )
    if len(old) == len(new) == 1 and old != new:
        [checkpoint] = old
        for name in left_after:
            if (checkpoint, name[1]) in left_before:
                found[name] = (checkpoint, name[1])
    return found
