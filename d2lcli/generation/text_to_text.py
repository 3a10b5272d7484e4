"""Answers of published models that read one text and write another, T5's: questions in, answers out, gaps filled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.errors import ConfigError
from d2lcli.generation.decoding import Decoder
from d2lcli.generation.spans import GAP, encode_spans, fill_spans
from d2lcli.generation.translation import TOGETHER, Decoding, Translated


@dataclass(frozen=True)
class TextToText:
    """A model that can be asked.

    Attributes:
        model: has `begin` and `step` as T5.
        tokenizer: of questions and answers.
        folder: that the weights came from.
        start: id of the token that an answer begins with.
        end: of the one that questions and answers end with.
    """

    model: nn.Module
    tokenizer: Tokenizer
    device: torch.device
    folder: Path
    start: int
    end: int


@torch.no_grad()
def answer(
    source: TextToText, decoder: Decoder, prompts: Sequence[str], *, num: int = 1, cache: bool = True
) -> list[Translated]:
    """Answer each prompt `num` times, in the order of the prompts; those of like length side by side.

    In prompts with <extra_id_0>, <extra_id_1>, ... these are filled, too.

    Args:
        source: the model.
        decoder: chooses the tokens.
        prompts: texts.
        num: answers to each.
        cache: read every token once; False reads an answer again for each new token.

    Raises:
        ConfigError: a prompt without a word.
    """
    encoded = [_encode(source, prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda place: len(encoded[place]))
    found: dict[int, list[Translated]] = {}
    for low in range(0, len(order), TOGETHER):
        places = order[low : low + TOGETHER]
        texts = [torch.tensor(encoded[place], device=source.device) for place in places]
        lengths = torch.tensor([len(text) for text in texts])
        decoding = Decoding(source.model, pad_sequence(texts, batch_first=True), lengths, cache=cache)
        made = decoder(decoding, texts[0].new_full((len(places) * num, 1), source.start), source.end)
        rows = list(zip(made.tokens, made.lengths.tolist(), made.log_probs))
        for row, place in enumerate(places):
            own = rows[row * num : (row + 1) * num]
            found[place] = [_answered(source, prompts[place], *each) for each in own]
    return [each for place in range(len(prompts)) for each in found[place]]


def _encode(source: TextToText, prompt: str) -> list[int]:
    ids = encode_spans(source.tokenizer, prompt) if GAP.search(prompt) else source.tokenizer.encode(prompt)
    if not ids:
        raise ConfigError("--prompt: an empty prompt has no answer", "give a sentence")
    return [*ids, source.end]


def _answered(source: TextToText, prompt: str, tokens: Tensor, length: int, log_probs: Tensor) -> Translated:
    tokenizer, ids = source.tokenizer, tokens[1 : 1 + length].tolist()
    kept = ids[:-1] if ids and ids[-1] == source.end else ids
    asked = GAP.sub(" ", prompt)
    pairs = zip(tokenizer.split(asked), tokenizer.encode(asked))
    return Translated(
        source=prompt,
        text=tokenizer.decode(kept),
        unknown=[token for token, number in pairs if number == tokenizer.vocabulary.unknown],
        left_out=0,
        tokens=[tokenizer.tokens[number] for number in kept],
        log_probs=log_probs[:length].tolist(),
        filled=fill_spans(tokenizer, prompt, kept) if GAP.search(prompt) else None,
    )
