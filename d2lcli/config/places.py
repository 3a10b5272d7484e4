"""Where the shipped configuration lies, and which choices it offers.  No Hydra: completion reads this."""

from functools import cache, lru_cache
from pathlib import Path

BUNDLES = ("hardware", "experiment")


@lru_cache(maxsize=1)
def conf_dir() -> Path:
    """The folder `conf`: inside the package of an installed wheel, else beside the package of a checkout.

    Raises:
        FileNotFoundError: neither is there: the installation is broken.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/train.yaml in or beside {package}; install d2lcli again")


def conf_file(group: str, name: str) -> Path | None:
    """The file of one choice, or None where it has none, as an entry from a plugin may."""
    return conf_dir() / group / f"{name}.yaml" if name in conf_names(group) else None


@cache
def conf_names(group: str) -> tuple[str, ...]:
    """The choices of a group or bundle that have a file, sorted."""
    return tuple(sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")))
