"""Checks of arguments that several builders share."""


def require_positive(**sizes: int | None) -> None:
    """Each size is at least 1; None stands for a size that is not known yet.

    Raises:
        ValueError: a size is below 1; the sentence names it.
    """
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, but it is {size}.")
