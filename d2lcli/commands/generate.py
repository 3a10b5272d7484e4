"""`d2l generate RUN`: what a run's model can make: text that goes on from prompts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from d2lcli.errors import ConfigError, DataError, clean, nearest


def generate(
    run: Path,
    overrides: list[str],
    *,
    prompts: list[str],
    file: Path | None,
    num: int,
    stop: list[str],
    checkpoint: str,
    cache: bool,
    json_output: bool,
) -> None:
    """Continue prompts with a run's language model, and print the texts.

    Raises:
        ConfigError: a wrong key or prompt, or a run that cannot generate.
        CheckpointError: there is no such run or checkpoint.
    """
    from d2lcli.training.plan import changed_config

    decoder, rest = split_decoder(overrides)
    values = changed_config(run, rest)
    texts = [*prompts, *(_lines(file) if file is not None else [])]
    if not texts:
        texts = [" "]

    from d2lcli.generation.text import continue_prompts, open_text_model
    from d2lcli.registry import DECODERS

    source = open_text_model(run, values, checkpoint)
    if decoder.get("beam_size", 1) > len(source.tokenizer):
        raise ConfigError(
            f"decoder.beam_size: {decoder['beam_size']} is wider than the vocabulary of {len(source.tokenizer)} tokens"
        )
    live = not json_output and len(texts) == num == 1 and decoder["name"] in ("greedy", "sampling")
    stream = None
    if live:
        print(texts[0], end="", flush=True)
        stream = _show
    try:
        chosen = DECODERS.build(**decoder)
        found = continue_prompts(source, chosen, texts, num=num, stop=stop, cache=cache, stream=stream)
    except ValueError as error:
        raise ConfigError(f"decoder '{decoder['name']}': {error}") from None
    if live:
        print()
    elif json_output:
        _print_json(found)
    else:
        print("\n\n".join(each.text for each in found))


def split_decoder(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The decoder's name and options from `decoder=NAME` and `decoder.KEY=VALUE`, checked, and the other words.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    from d2lcli.config.overrides import read_overrides
    from d2lcli.config.places import conf_dir
    from d2lcli.config.problems import Problems
    from d2lcli.config.yaml_text import load_yaml
    from d2lcli.registry import DECODERS
    from d2lcli.registry.options import check_options

    mine = [word for word in overrides if word.partition("=")[0].partition(".")[0] == "decoder"]
    problems = Problems()
    name, options = "sampling", {}
    for setting in read_overrides(mine, problems):
        if len(setting.key) == 1 or setting.key[1:] == ("name",):
            name = setting.value
        else:
            options[".".join(setting.key[1:])] = setting.value
    if not isinstance(name, str) or name not in DECODERS:
        known = ", ".join(DECODERS.names())
        problems.add(
            f"decoder: unknown name '{clean(name, 80)}'{nearest(str(name), DECODERS.names())} (known: {known})"
        )
        problems.raise_any()
    for reason in check_options(options, DECODERS.parameters(name), f"decoder '{name}'"):
        problems.add(reason)
    problems.raise_any()
    return load_yaml(conf_dir() / "decoder" / f"{name}.yaml") | options, [
        word for word in overrides if word not in mine
    ]


def _lines(file: Path) -> list[str]:
    """The prompts in a file, one a line; - is stdin.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        found = [line for line in content.decode("utf-8-sig").splitlines() if line]
    except OSError as error:
        raise DataError(f"--file: {clean(file)} cannot be read: {error.strerror or clean(error)}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"--file: {clean(file)}: not UTF-8 at byte {error.start}") from None
    if not found:
        raise DataError(f"--file: {clean(file)} holds no prompt")
    return found


def _show(text: str) -> None:
    print(text, end="", flush=True)


def _print_json(found: Sequence[Any]) -> None:
    from dataclasses import asdict

    from d2lcli.commands.terminal import print_json

    print_json([asdict(each) | {"text": each.text} for each in found])
