"""A tag for each word of given texts, by the model of a finished run (d2l 16.6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from d2lcli.data.annotated import word_pieces
from d2lcli.data.marked import Marks, mark
from d2lcli.generation.asking import Encoder, require_words


@dataclass(frozen=True)
class Tagged:
    """One text with the tags of its words.

    Attributes:
        words: what stands between white space.
        tags: one for each.
        probabilities: of these tags.
        unknown: words that are not in the vocabulary, each once.
    """

    words: list[str]
    tags: list[str]
    probabilities: list[float]
    unknown: list[str]


@dataclass(frozen=True)
class _Part:
    """Consecutive words of a text that the model can read at once.

    Args:
        tokens: of all of them, without the marks around.
        places: of the first token of each word.
    """

    tokens: list[int]
    places: list[int]


def tag(source: Encoder, prompts: Sequence[str]) -> list[Tagged]:
    """The tags of each text's words, in their order; what the model cannot read at once it reads part by part.

    Raises:
        ConfigError: a text has no word.
    """
    texts = [prompt.split() for prompt in prompts]
    require_words(prompts, [source.tokenizer.encode(" ".join(words)) for words in texts])
    parts = [list(_parts(source, words)) for words in texts]
    marks = Marks.of(source.tokenizer)
    outputs = source.outputs([mark(marks, part.tokens) for each in parts for part in each])
    found = []
    for words, each in zip(texts, parts, strict=True):
        # A place stands one further on in what was read: <cls> comes first.
        rows = [next(outputs)[1:][part.places].softmax(1).max(1) for part in each]
        tags = [source.classes[number] for row in rows for number in row.indices.tolist()]
        shares = [share for row in rows for share in row.values.tolist()]
        found.append(Tagged(words, tags, shares, source.unknown([" ".join(words)])))
    return found


def _parts(source: Encoder, words: Sequence[str]) -> Iterator[_Part]:
    room = source.num_steps - 2  # the marks
    part = _Part([], [])
    for word in words:
        before, own = word_pieces(source.tokenizer, word, first=not part.tokens)
        if part.tokens and len(part.tokens) + len(before) + len(own) > room:
            yield part
            part = _Part([], [])
            before, own = word_pieces(source.tokenizer, word, first=True)
        part.places.append(len(part.tokens) + len(before))
        part.tokens.extend([*before, *own][:room])
    yield part
