"""Which file the key `weights` means: a file, a checkpoint folder, or a run's best checkpoint.  Imports no torch."""

from pathlib import Path

from d2lcli.errors import CheckpointError, clean
from d2lcli.training.manifest import find_checkpoint
from d2lcli.training.runfolder import RunFolder

SAFE = (".safetensors",)
PICKLED = (".pt", ".pth", ".bin")
VECTORS = (".txt", ".vec")  # word vectors, which fill embeddings by the spelling of their tokens
PUBLISHED = "model.safetensors"  # in a folder as published, with its vocabulary and config.json
_HINT = (
    "name a .safetensors file or a folder with model.safetensors, a run folder or one of its checkpoint folders; or a "
    ".txt file of word vectors"
)


def locate(weights: str) -> Path:
    """The file or checkpoint folder that `weights` names; a file of word vectors is told by its ending.

    Args:
        weights: a file, a folder with `model.safetensors`, a checkpoint folder, or a run folder, which stands for its
            best checkpoint.

    Raises:
        CheckpointError: there is none, or it is of no known kind.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        if path.suffix.lower() in (*SAFE, *PICKLED, *VECTORS):
            return path
        known = ", ".join((*SAFE, *PICKLED, *VECTORS))
        raise CheckpointError(f"weights {clean(path)}: not a file of weights by its ending (known: {known})", _HINT)
    if not path.is_dir():
        what = "there is no such file or folder" if not path.exists() else "neither a file nor a folder"
        raise CheckpointError(f"weights {clean(path)}: {what}", _HINT)
    if (path / "manifest.json").is_file():
        return path
    if (path / PUBLISHED).is_file():
        return path / PUBLISHED
    folder = RunFolder(path)
    if not folder.exists:
        raise CheckpointError(f"weights {clean(path)}: this folder is neither a run nor a checkpoint", _HINT)
    return find_checkpoint(path / "checkpoints", "best")
