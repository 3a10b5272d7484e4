"""What a masked language model puts into the gaps of a text (Devlin et al., 2019; d2l 15.8)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from d2lcli.data.marked import Marks
from d2lcli.errors import ConfigError
from d2lcli.generation.text import TextModel

GAP = re.compile(r"<mask>|\[MASK\]")


@dataclass(frozen=True)
class Filled:
    """A prompt whose gaps are filled.

    Attributes:
        text: with the most probable token in each gap, each chosen for itself.
        tokens: for each gap the most probable tokens, the best first.
        probabilities: theirs.
    """

    prompt: str
    text: str
    tokens: list[list[str]]
    probabilities: list[list[float]]


@torch.no_grad()
def fill_gaps(source: TextModel, prompts: Sequence[str], num: int = 5) -> list[Filled]:
    """Fill every <mask> of each prompt.

    Args:
        source: a model that was trained to predict masked tokens.
        prompts: texts with <mask> or [MASK] in them.
        num: tokens to tell for each gap.

    Raises:
        ConfigError: a prompt without a gap, or longer than the model reads.
    """
    return [_fill(source, prompt, num) for prompt in prompts]


def _fill(source: TextModel, prompt: str, num: int) -> Filled:
    tokenizer, marks = source.tokenizer, Marks.of(source.tokenizer)
    if not GAP.search(prompt):
        raise ConfigError("--prompt: there is no <mask> in it", "write <mask> where a word is missing")
    ids = [marks.cls]
    for number, part in enumerate(GAP.split(prompt)):
        ids += [marks.mask] if number else []
        ids += tokenizer.encode(part)
    ids.append(marks.sep)
    max_len = getattr(source.model, "max_len", None)
    if max_len is not None and len(ids) > max_len:
        raise ConfigError(f"--prompt: {len(ids)} tokens, but the model reads no more than {max_len}")
    tokens = torch.tensor([ids], device=source.device)
    places = (tokens[0] == marks.mask).nonzero().T  # (1, gaps)
    logits = source.model(tokens, None, None, places)[0][0]  # (gaps, V)
    special = [tokenizer.id_of(token) for token in tokenizer.special]
    logits[:, special] = -torch.inf
    found = logits.double().softmax(1).topk(min(num, logits.shape[1] - len(special)), dim=1)
    words = iter([tokenizer.decode([row[0]]) for row in found.indices.tolist()])
    return Filled(
        prompt,
        GAP.sub(lambda _: next(words), prompt),
        [[tokenizer.tokens[number] for number in row] for row in found.indices.tolist()],
        found.values.tolist(),
    )
