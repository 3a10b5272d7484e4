"""Nearest neighbours and analogies of word vectors, of a run or of a file."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from d2lcli.commands.generating.asked import Asked
from d2lcli.commands.generating.decoders import naming_decoder, read_decoder
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, clean

TASK = "word_embedding"  # whose decoders are those of all word vectors


def look_up(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Print what is near each prompt, a word or a sum of words; or write all vectors below the run."""

    def opened() -> Any:
        from d2lcli.generation.words import open_word_vectors

        return open_word_vectors(run, values, asked.checkpoint)

    _answer(opened, words, asked, run)


def look_up_file(path: Path, words: Sequence[str], asked: Asked) -> None:
    """The same for a text file of vectors, which has no run to write below."""

    def opened() -> Any:
        from d2lcli.generation.words import read_word_vectors

        return read_word_vectors(path)

    _answer(opened, words, asked, None)


def _answer(opened: Callable[[], Any], words: Sequence[str], asked: Asked, run: Path | None) -> None:
    decoder = read_decoder(words, "neighbours", TASK)
    if asked.stop:
        raise ConfigError("--stop is for text that goes on")
    from d2lcli.registry import DECODERS

    prompts = asked.texts()
    if decoder["name"] != "neighbours":
        if prompts or run is None:
            what = "--prompt and --file ask for neighbours" if prompts else "vectors are written below a run"
            raise ConfigError(f"decoder '{decoder['name']}': {what}")
        place = DECODERS.build(**decoder)(opened(), run)
        print_json({"file": str(place)}) if asked.json_output else print(place)
        return
    if not prompts:
        raise ConfigError("there is nothing to look up", 'give --prompt WORD, or --prompt "king - man + woman"')
    if asked.num > 1:
        decoder["num"] = asked.num
    with naming_decoder(decoder["name"]):
        ask = DECODERS.build(**decoder)
    found = ask(opened(), prompts)
    lists = [
        "".join(f"{cosine:.4f}  {clean(word, 80)}\n" for word, cosine in zip(one.words, one.cosines)) for one in found
    ]
    titled = "\n".join(f"{clean(one.prompt)}\n{listed}" for one, listed in zip(found, lists))
    if run is not None:  # where a report of the run finds them
        from d2lcli.training.files import replace_file

        (run / "samples").mkdir(exist_ok=True)
        replace_file(run / "samples" / "neighbours.txt", titled.encode())
    if asked.json_output:
        print_json([asdict(one) for one in found])
    else:
        print(titled if len(found) > 1 else lists[0], end="")
