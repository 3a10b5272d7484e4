"""Translations."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from d2lcli.commands.generating.asked import Asked, note
from d2lcli.commands.generating.decoders import build_decoder, naming_decoder, read_decoder
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, clean


def translate(open_model: Callable[[], Any], words: Sequence[str], asked: Asked) -> None:
    """Print translations, and draw what they looked at."""
    decoder = read_decoder(words, "beam")
    if asked.num > 1 or asked.stop:
        raise ConfigError("--num and --stop are for text that goes on; a sentence has one translation")
    from d2lcli.generation.translation import attention_map
    from d2lcli.generation.translation import translate as translations

    texts = asked.texts()
    if not texts:
        raise ConfigError("there is nothing to translate", "give --prompt TEXT, or --file FILE")
    translator = open_model()
    if (max_len := getattr(translator.model, "max_len", None)) is not None:
        decoder["max_tokens"] = min(decoder["max_tokens"], max_len - 1)  # with <bos> they fill the learned positions
    with naming_decoder(decoder["name"]):
        found = translations(translator, build_decoder(decoder, len(translator.target)), texts, cache=asked.cache)
    for each in found:
        if each.unknown:
            note(f"the model does not know: {clean(', '.join(each.unknown), 200)}")
        if each.left_out:
            note(f"the model reads no more than {translator.most} tokens: {each.left_out} left out")
    if asked.json_output:
        print_json([asdict(each) for each in found])
    else:
        print("\n".join(each.shown for each in found))
    if asked.attention is not None:
        map_ = attention_map(translator, found[0])
        if map_ is None:
            raise ConfigError(f"--attention: a {type(translator.model).__name__} has no attention to draw")
        from d2lcli.generation.plots import plot_attention

        print(plot_attention(*map_, asked.attention), file=sys.stderr)
