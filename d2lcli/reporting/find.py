"""What the RUN words of a report stand for: runs, studies with their trials, cross-validations with their folds."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2lcli.errors import CheckpointError, clean
from d2lcli.reporting.read import RunData, names_of, read_run
from d2lcli.reporting.study import Study, is_study, read_study
from d2lcli.training.runfolder import read_json

MOST_TRIALS = 24  # of a study, the best ones, get curves of their own


@dataclass
class Found:
    """What a report is about.

    Attributes:
        runs: in the order in which they were named; of a study the best trials, of a cross-validation the folds.
        studies: with all trials.
        folds: the folder and result.json of each cross-validation.
        folders: as they were named.
    """

    runs: list[RunData] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)
    folds: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The names of the folders."""
        names = names_of(self.folders)
        return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def find(folders: Sequence[Path]) -> Found:
    """Read everything.

    Raises:
        CheckpointError: a folder holds neither a run nor a study.
    """
    found, paths = Found(), []
    for folder in {os.path.abspath(folder): folder for folder in folders}.values():
        found.folders.append(folder)
        if is_study(folder):
            study = read_study(folder)
            found.studies.append(study)
            runs = [study.run_folder(trial) for trial in study.ranked]
            paths += [path for path in runs if (path / "config.yaml").exists()][:MOST_TRIALS]
            continue
        result = read_json(folder / "result.json") or {}
        parts = [path for path in sorted(folder.glob("fold-*"), key=_number) if (path / "config.yaml").exists()]
        if parts:
            found.folds.append((folder, result))
        elif not (folder / "config.yaml").exists():
            raise CheckpointError(
                f"no run in {clean(folder)} (there is no config.yaml)",
                "name the folder that `d2l train` or `d2l hpo` printed",
            )
        paths += parts or [folder]
    unique = list({os.path.abspath(path): path for path in paths}.values())
    found.runs = [read_run(path, name) for path, name in zip(unique, names_of(unique))]
    return found


def _number(path: Path) -> tuple[int, str]:
    number = path.name.removeprefix("fold-")
    return (int(number) if number.isdigit() else 1 << 30), path.name
