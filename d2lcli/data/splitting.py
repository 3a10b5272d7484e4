"""Fixed splits: decided by the hash of each example's name, so the same on every machine and for every seed."""

import hashlib
from collections.abc import Sequence


def hash_order(names: Sequence[str]) -> list[int]:
    """The indices of `names` in the order of their SHA-256: a permutation that looks random and never changes."""
    return sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode("utf-8", "surrogateescape")).digest())


def stratified_split(names: Sequence[str], labels: Sequence[int], val_share: float) -> tuple[list[int], list[int]]:
    """Indices for training and validation, with the same share of every class, each list in hash order.

    An image that is added later does not move most of the others to the other side.

    Args:
        names: one for each example, all different.
        labels: the class of each.
        val_share: of every class, rounded; a class always keeps an example for training.

    Raises:
        ValueError: a share that is not between 0 and 1.
    """
    check_share(val_share)
    members: dict[int, list[int]] = {}
    order = hash_order(names)
    for index in order:
        members.setdefault(labels[index], []).append(index)
    held = {i for group in members.values() for i in group[: min(round(val_share * len(group)), len(group) - 1)]}
    return [i for i in order if i not in held], [i for i in order if i in held]


def check_share(share: float, key: str = "val_share") -> None:
    """Raises ValueError where the share that the option `key` gives is not between 0 and 1."""
    if not 0 < share < 1:
        raise ValueError(f"{key} is {share}; it must lie between 0 and 1")
