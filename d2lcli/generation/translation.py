"""Translations by a finished run: its model and two tokenizers from the run folder, sentences in, sentences out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from d2lcli.data.pairs import BOS, EOS, PAD
from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.translations import normalise
from d2lcli.errors import ConfigError
from d2lcli.generation.continuation import picker
from d2lcli.generation.decoding import Decoder
from d2lcli.generation.layout import lay_out
from d2lcli.generation.opening import open_run
from d2lcli.generation.spans import encode_spans, fill_spans
from d2lcli.training.tokens import SOURCE, TARGET, read_tokenizer

TOGETHER = 64  # sentences that are translated side by side


@dataclass(frozen=True)
class Translator:
    """A translation model that can be asked, or one that fills in spans.

    Attributes:
        spans: it was trained to fill in what <extra_id_0>, <extra_id_1>, ... stand for.
        source, target: the tokenizers of the two languages.
        checkpoint: the folder that the weights came from.
        most: the most source tokens, end token included, that it was trained on or has positions for; None for any
            number.
    """

    model: nn.Module
    source: Tokenizer
    target: Tokenizer
    device: torch.device
    checkpoint: Path
    most: int | None
    spans: bool = False


@dataclass(frozen=True)
class Translated:
    """One translation.

    Attributes:
        source: the sentence.
        text: its translation.
        unknown: source tokens that the model has never seen.
        left_out: source tokens at the end that it did not read, because there were too many.
        tokens: of the translation.
        log_probs: of each, and of the end token, under the model.
        filled: the source with what the model put in place of its spans; None where it translates.
    """

    source: str
    text: str
    unknown: list[str]
    left_out: int
    tokens: list[str]
    log_probs: list[float]
    filled: str | None = None

    @property
    def shown(self) -> str:
        """What people want to see."""
        return self.text if self.filled is None else self.filled


class Decoding:
    """Target tokens (n, t) -> the logits (n, V) of the next one, given the sources; every token is read once.

    The first call may come with several rows for each source, as a search has them.
    """

    def __init__(self, model: Any, source: Tensor, lengths: Tensor, *, cache: bool = True) -> None:
        self.model, self.cache = model, cache
        self.source, self.lengths = source, lengths
        self.state: tuple[Any, ...] = model.begin(source, lengths)
        self.of_source = [False] * len(self.state)
        self.rows, self.seen = len(source), 0

    def __call__(self, tokens: Tensor) -> Tensor:
        if len(tokens) != self.rows:
            self._widen(len(tokens) // self.rows)
            self.rows = len(tokens)
        logits, after = self.model.step(tokens[:, self.seen :], self.state)
        self.of_source = [new is old for new, old in zip(after, self.state)]
        if self.cache:
            self.state, self.seen = after, tokens.shape[1]
        last: Tensor = logits[:, -1]
        return last

    def reorder(self, rows: Tensor) -> None:
        """Keep the states of these rows (m,), in this order; each source keeps its places.

        So what a step gives back as it was, which is about the source alone, is not copied.
        """
        pick = picker(rows)
        self.state = tuple(part if fixed else pick(part) for part, fixed in zip(self.state, self.of_source))

    def _widen(self, k: int) -> None:
        """k rows for each that there was; a model with `widen` lets them share what is about the source."""
        if hasattr(self.model, "widen"):
            self.state = self.model.widen(self.state, k)
        else:
            rows = torch.arange(self.rows, device=self.source.device).repeat_interleave(k)
            self.state = tuple(part.index_select(1, rows) for part in self.state)

    def fresh(self, row: int) -> "Decoding":
        """The same for one source alone, without any token read."""
        return Decoding(self.model, self.source[row : row + 1], self.lengths[row : row + 1], cache=False)


def open_translator(path: Path, values: dict[str, Any], checkpoint: str = "best") -> Translator:
    """A run's translation model, from its folder alone: no data is read.

    Raises:
        CheckpointError: no run, no such checkpoint, a damaged one, or no tokenizer beside it.
        DataError: a tokenizer's file is damaged.
    """
    run = open_run(path, values, checkpoint)
    source, target = (read_tokenizer(path / name) for name in (SOURCE, TARGET))
    model = run.model((0,), len(target), len(source))
    spans = "objective" in values["data"]
    limits = [None if spans else values["data"]["num_steps"], getattr(model, "max_len", None)]
    most = min((limit for limit in limits if limit is not None), default=None)
    return Translator(lay_out(model), source, target, run.device, run.checkpoint, most, spans)


@torch.no_grad()
def translate(
    translator: Translator, decoder: Decoder, sentences: Sequence[str], *, cache: bool = True
) -> list[Translated]:
    """Translate each sentence; those of like length side by side.

    Raises:
        ConfigError: a sentence without a word.
    """
    encoded = [_encode(translator, sentence) for sentence in sentences]
    order = sorted(range(len(sentences)), key=lambda place: len(encoded[place]))
    found: dict[int, Translated] = {}
    for low in range(0, len(order), TOGETHER):
        places = order[low : low + TOGETHER]
        lengths = torch.tensor([len(encoded[place]) for place in places])
        rows = [torch.tensor(encoded[place], device=translator.device) for place in places]
        source = pad_sequence(rows, batch_first=True, padding_value=PAD)
        decoding = Decoding(translator.model, source, lengths, cache=cache)
        made = decoder(decoding, source.new_full((len(places), 1), BOS), EOS)
        for place, tokens, size, logs in zip(places, made.tokens, made.lengths.tolist(), made.log_probs):
            ids = tokens[1 : 1 + size].tolist()
            found[place] = _translated(translator, sentences[place], encoded[place], ids, logs[:size].tolist())
    return [found[place] for place in range(len(sentences))]


@torch.no_grad()
def attention_map(translator: Translator, done: Translated) -> tuple[list[str], list[str], list[list[float]]] | None:
    """Source tokens, target tokens and how much each of these looked at each of those; None for a model without."""
    if not hasattr(translator.model, "attention_weights"):
        return None
    ids = _encode(translator, done.source)
    target = [translator.target.vocabulary.ids[token] for token in done.tokens]
    inputs = torch.tensor([[BOS, *target]], device=translator.device)
    source = torch.tensor([ids], device=translator.device)
    weights = translator.model.attention_weights(source, torch.tensor([len(ids)]), inputs)  # type: ignore[operator]
    shown = [translator.source.tokens[number] for number in ids]
    return shown, [*done.tokens, translator.target.tokens[EOS]], weights[0].tolist()


def _encode(translator: Translator, sentence: str) -> list[int]:
    if translator.spans:
        ids = encode_spans(translator.source, sentence)
    else:
        ids = translator.source.encode(normalise(sentence))
    if not ids:
        raise ConfigError("--prompt: an empty sentence has no translation", "give a sentence")
    most = None if translator.most is None else translator.most - 1
    return [*ids[:most], EOS]


def _translated(
    translator: Translator, sentence: str, source: list[int], ids: list[int], logs: list[float]
) -> Translated:
    kept = ids[:-1] if ids and ids[-1] == EOS else ids
    tokens = [translator.target.tokens[number] for number in kept]
    text = translator.target.decode(kept)
    if translator.spans:
        left_out = len(encode_spans(translator.source, sentence)) + 1 - len(source)
        return Translated(sentence, text, [], left_out, tokens, logs, fill_spans(translator.target, sentence, kept))
    words = translator.source.split(normalise(sentence))
    missing = translator.source.vocabulary.unknown
    unknown = [word for word, number in zip(words, source) if number == missing]
    return Translated(sentence, text, unknown, len(words) + 1 - len(source), tokens, logs)
