"""`d2l generate RUN`: what a run's model can make: text that goes on from prompts, and translations."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from d2lcli.errors import ConfigError, DataError, clean, nearest

DEFAULTS = {"language_model": "sampling", "sequence_to_sequence": "beam"}
STREAMING = ("greedy", "sampling")


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
    attention: Path | None,
    json_output: bool,
) -> None:
    """Continue prompts with a run's language model, or translate them, and print the texts.

    Raises:
        ConfigError: a wrong key or prompt, or a run that cannot generate.
        CheckpointError: there is no such run or checkpoint.
    """
    from d2lcli.training.plan import changed_config

    words = [word for word in overrides if word.partition("=")[0].partition(".")[0] == "decoder"]
    values = changed_config(run, [word for word in overrides if word not in words])
    task = values["task"]["name"]
    decoder = read_decoder(words, DEFAULTS.get(task, "greedy"))
    texts = [*prompts, *(read_lines(file) if file is not None else [])]
    if task == "sequence_to_sequence":
        if num > 1 or stop:
            raise ConfigError("--num and --stop are for text that goes on; a sentence has one translation")
        _translate(run, values, decoder, texts, checkpoint, cache, attention, json_output)
        return
    if attention is not None:
        raise ConfigError("--attention draws what a translation looked at, and this run does not translate")
    _continue(run, values, decoder, texts or [" "], num, stop, checkpoint, cache, json_output)


def _continue(
    run: Path,
    values: dict[str, Any],
    decoder: dict[str, Any],
    texts: list[str],
    num: int,
    stop: list[str],
    checkpoint: str,
    cache: bool,
    json_output: bool,
) -> None:
    from d2lcli.generation.text import continue_prompts, open_text_model

    source = open_text_model(run, values, checkpoint)
    chosen = build_decoder(decoder, len(source.tokenizer))
    live = not json_output and len(texts) == num == 1 and decoder["name"] in STREAMING
    if live:
        _show(texts[0])
    with _naming(decoder["name"]):
        found = continue_prompts(source, chosen, texts, num=num, stop=stop, cache=cache, stream=_show if live else None)
    if live:
        print()
    elif json_output:
        _print_json([asdict(each) | {"text": each.text} for each in found])
    else:
        print("\n\n".join(each.text for each in found))


def _translate(
    run: Path,
    values: dict[str, Any],
    decoder: dict[str, Any],
    texts: list[str],
    checkpoint: str,
    cache: bool,
    attention: Path | None,
    json_output: bool,
) -> None:
    if not texts:
        raise ConfigError("there is nothing to translate", "give --prompt TEXT, or --file FILE")
    from d2lcli.generation.translation import attention_map, open_translator, translate

    translator = open_translator(run, values, checkpoint)
    if (max_len := getattr(translator.model, "max_len", None)) is not None:
        decoder["max_tokens"] = min(decoder["max_tokens"], max_len - 1)  # with <bos> they fill the learned positions
    with _naming(decoder["name"]):
        found = translate(translator, build_decoder(decoder, len(translator.target)), texts, cache=cache)
    for each in found:
        if each.unknown:
            print(f"note: the model does not know: {clean(', '.join(each.unknown), 200)}", file=sys.stderr)
        if each.left_out:
            print(
                f"note: the model reads no more than {translator.most} tokens: {each.left_out} left out",
                file=sys.stderr,
            )
    if json_output:
        _print_json([asdict(each) for each in found])
    else:
        print("\n".join(each.text for each in found))
    if attention is not None:
        shown = attention_map(translator, found[0])
        if shown is None:
            raise ConfigError(f"--attention: model '{values['model']['name']}' has no attention to draw")
        from d2lcli.generation.plots import plot_attention

        print(plot_attention(*shown, attention), file=sys.stderr)


def read_decoder(words: Sequence[str], default: str) -> dict[str, Any]:
    """The decoder's name and options from `decoder=NAME` and `decoder.KEY=VALUE`, checked.

    Raises:
        ConfigError: everything that is wrong with them.
    """
    from d2lcli.config.overrides import read_overrides
    from d2lcli.config.places import conf_dir
    from d2lcli.config.problems import Problems
    from d2lcli.config.yaml_text import load_yaml
    from d2lcli.registry import DECODERS
    from d2lcli.registry.options import check_options

    problems, name, options = Problems(), default, {}
    for setting in read_overrides(words, problems):
        if len(setting.key) == 1 or setting.key[1:] == ("name",):
            name = setting.value
        else:
            options[".".join(setting.key[1:])] = setting.value
    if not isinstance(name, str) or name not in DECODERS:
        known, hint = ", ".join(DECODERS.names()), nearest(str(name), DECODERS.names())
        problems.add(f"decoder: unknown name '{clean(name, 80)}'{hint} (known: {known})")
        problems.raise_any()
    for reason in check_options(options, DECODERS.parameters(name), f"decoder '{name}'"):
        problems.add(reason)
    problems.raise_any()
    return load_yaml(conf_dir() / "decoder" / f"{name}.yaml") | options


def build_decoder(options: dict[str, Any], vocab_size: int) -> Any:
    """The decoder.

    Raises:
        ConfigError: it refuses its options, or a beam is wider than the vocabulary.
    """
    from d2lcli.registry import DECODERS

    if options.get("beam_size", 1) > vocab_size:
        raise ConfigError(
            f"decoder.beam_size: {options['beam_size']} is wider than the vocabulary of {vocab_size} tokens"
        )
    with _naming(options["name"]):
        return DECODERS.build(**options)


def _naming(name: str) -> Any:
    from d2lcli.training.build import naming_key

    return naming_key(f"decoder '{name}'")


def read_lines(file: Path) -> list[str]:
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


def _print_json(found: list[dict[str, Any]]) -> None:
    from d2lcli.commands.terminal import print_json

    print_json(found)
