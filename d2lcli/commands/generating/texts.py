"""Texts: those that go on from a prompt, answers, filled gaps."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from d2lcli.commands.generating.asked import Asked, note, read_text
from d2lcli.commands.generating.decoders import build_decoder, naming_decoder, read_decoder
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, DataError, clean

STREAMING = ("greedy", "sampling")


def go_on(open_model: Callable[[], Any], words: Sequence[str], asked: Asked, default: str) -> None:
    """Print texts that go on from the prompts."""
    from d2lcli.generation.text import continue_prompts

    decoder = read_decoder(words, default)
    texts, stop = _prompts(asked)
    source = open_model()
    chosen = build_decoder(decoder, len(source.tokenizer))
    live = not asked.json_output and len(texts) == asked.num == 1 and decoder["name"] in STREAMING
    if live:
        _show(texts[0])
    with naming_decoder(decoder["name"]):
        found = continue_prompts(
            source, chosen, texts, num=asked.num, stop=stop, cache=asked.cache, stream=_show if live else None
        )
    if live:
        print()
    elif asked.json_output:
        print_json([asdict(each) | {"text": each.text} for each in found])
    else:
        print("\n\n".join(each.text for each in found))


def _prompts(asked: Asked) -> tuple[list[str], Sequence[str]]:
    """The prompts, with examples before them where some are given, and the texts to stop at."""
    texts = asked.texts() or [" "]
    if asked.instruction == "" and asked.examples is None:
        if asked.shots is not None:
            raise ConfigError("--shots says how many of the --examples are shown, and there are none")
        return texts, asked.stop
    from d2lcli.generation.prompting import few_shot, read_examples

    examples = []
    if asked.examples is not None:
        try:
            examples = read_examples(read_text(asked.examples, "--examples"))
        except ValueError as error:
            raise DataError(f"--examples: {clean(asked.examples)}: {error}") from None
    if asked.shots is not None and asked.shots > len(examples):
        raise ConfigError(f"--shots {asked.shots}: there are {len(examples)} examples")
    shown = examples[: asked.shots]
    return [few_shot(text, shown, asked.instruction) for text in texts], asked.stop or ["\n"]


def answer(open_model: Callable[[], Any], words: Sequence[str], asked: Asked) -> None:
    """Print what a text-to-text model answers to each prompt."""
    from d2lcli.generation.text_to_text import answer as answers

    decoder = read_decoder(words, "sampling" if asked.num > 1 else "beam")
    if asked.stop:
        raise ConfigError("--stop is for text that goes on; an answer ends by itself")
    if not asked.texts():
        raise ConfigError("there is nothing to answer", "give --prompt TEXT, or --file FILE")
    texts, _ = _prompts(asked)
    source = open_model()
    chosen = build_decoder(decoder, len(source.tokenizer))
    with naming_decoder(decoder["name"]):
        found = answers(source, chosen, texts, num=asked.num, cache=asked.cache)
    if unknown := list(dict.fromkeys(token for each in found for token in each.unknown)):
        note(f"the model does not know: {clean(', '.join(unknown), 200)}")
    if asked.json_output:
        print_json([asdict(each) for each in found])
    else:
        print("\n".join(each.shown for each in found))


def fill(open_model: Callable[[], Any], words: Sequence[str], asked: Asked) -> None:
    """Print texts with their gaps filled."""
    from d2lcli.generation.filling import fill_gaps

    _no_options(words, asked)
    texts = asked.texts()
    if not texts:
        raise ConfigError("there is nothing to fill", 'give --prompt "It was a <mask> day.", or --file FILE')
    found = fill_gaps(open_model(), texts, max(asked.num, 1))
    if asked.json_output:
        print_json([asdict(each) for each in found])
        return
    for each in found:
        print(each.text)
        for tokens, probabilities in zip(each.tokens, each.probabilities) if asked.num > 1 else ():
            print("  " + "  ".join(f"{token} {share:.3f}" for token, share in zip(tokens, probabilities)))


def _no_options(words: Sequence[str], asked: Asked) -> None:
    if words:
        raise ConfigError(f"{clean(words[0], 80)}: a gap is filled with its most probable tokens, without a decoder")
    if asked.stop:
        raise ConfigError("--stop is for text that goes on")


def _show(text: str) -> None:
    print(text, end="", flush=True)
