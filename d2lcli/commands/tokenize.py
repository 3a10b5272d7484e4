"""`d2l tokenize`: how a tokenizer cuts text, that of a run or one trained here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d2lcli.commands.generating.asked import read_lines
from d2lcli.errors import ConfigError, clean

SHOWN = 20  # tokens of a vocabulary


def tokenize(
    words: list[str], *, texts: Sequence[str], file: Path | None, ids: bool, save: Path | None, json_output: bool
) -> None:
    """Print the tokens of texts.

    Raises:
        ConfigError: a wrong key, or data without a tokenizer.
        CheckpointError: a run without a tokenizer.
        DataError: a damaged tokenizer, or a file that cannot be read.
    """
    named = [word for word in words if "=" not in word and not word.startswith("~")]
    if len(named) > 1:
        raise ConfigError(f"one run or tokenizer file at a time, not {clean(', '.join(named), 200)}")
    overrides = [word for word in words if word not in named]
    if named and overrides:
        raise ConfigError(f"{clean(overrides[0], 80)}: a run's tokenizer is as it was trained", "leave out the run")
    tokenizer = _stored(Path(named[0])) if named else _trained(overrides)
    given = [*texts, *(read_lines(file) if file is not None else [])]
    found = [_cut(tokenizer, text) for text in given]
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(save)
    if json_output:
        from d2lcli.commands.terminal import print_json

        print_json({"tokenizer": tokenizer.name, "size": len(tokenizer), "texts": found})
        return
    for each in found:
        print(" ".join(map(str, each["ids"] if ids else each["tokens"])))
    if not found:
        first = list(tokenizer.vocabulary.plain)[:SHOWN]
        print(f"{tokenizer.name}: {len(tokenizer):,} tokens, special {' '.join(tokenizer.special)}")
        print(f"first: {' '.join(repr(token)[1:-1] for token in first)}")
    if save is not None:
        print(save)


def _stored(path: Path) -> Any:
    from d2lcli.training.tokens import read_tokenizer

    return read_tokenizer(path)


def _trained(overrides: list[str]) -> Any:
    from d2lcli import config
    from d2lcli.training.data import build_data

    values = config.compose(["model=rnn_lm", *overrides]).values
    tokenizer = build_data(values).tokenizer
    if tokenizer is None:
        name = values["data"]["name"]
        raise ConfigError(f"data '{name}' has no text to cut", "use data=botchan or data=text_file data.path=FILE")
    return tokenizer


def _cut(tokenizer: Any, text: str) -> dict[str, Any]:
    ids = tokenizer.encode(text)
    return {"text": text, "tokens": tokenizer.split(text), "ids": ids, "decoded": tokenizer.decode(ids)}
