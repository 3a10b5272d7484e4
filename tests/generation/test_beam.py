"""Beam search against exhaustive search, closed forms and a plain loop."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from d2lcli.errors import NonFiniteError
from d2lcli.generation.beam import beam
from d2lcli.generation.continuation import Continuation, next_logits
from d2lcli.generation.exhaustive import exhaustive
from d2lcli.generation.greedy import greedy
from d2lcli.generation.sampling import penalise, sampling, truncate
from d2lcli.models.rnn_lm import rnn_lm

EOS = 2


def model(seed: int, size: int = 3, cell: str = "gru") -> nn.Module:
    torch.manual_seed(seed)
    built = rnn_lm(vocab_size=size, cell=cell, hidden_size=6, scratch=True).double()  # type: ignore[arg-type]
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=1.5)
    return built.eval()


def by_hand(built: nn.Module, prompt: list[int], most: int, alpha: float) -> tuple[float, list[int]]:
    """The best of all sequences, one by one."""
    best = (-math.inf, [0])
    for length in range(1, most + 1):
        for new in itertools.product(range(3), repeat=length):
            ended = new[-1] == EOS or length == most
            if EOS in new[:-1] or not ended:
                continue
            logs = built(torch.tensor([prompt + list(new)])).detach()[0].log_softmax(1)
            total = sum(float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(new))
            best = max(best, (total / length**alpha, list(new)))
    return best


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.5])
def test_a_full_beam_equals_exhaustive_search(seed: int, alpha: float) -> None:
    built, prompt, most = model(seed), torch.tensor([[0, 1], [1, 1]]), 4
    wide = beam(max_tokens=most, beam_size=3 ** (most - 1), alpha=alpha)
    for cache in (False, True):
        searched = wide(next_logits(built, cache=cache), prompt, EOS)
        tried = exhaustive(max_tokens=most, alpha=alpha)(next_logits(built, cache=cache), prompt, EOS)
        assert torch.equal(searched.tokens, tried.tokens) and torch.equal(searched.lengths, tried.lengths)
        torch.testing.assert_close(searched.log_probs, tried.log_probs)
    for row in range(2):
        score, tokens = by_hand(built, prompt[row].tolist(), most, alpha)
        length = int(tried.lengths[row])
        assert tried.tokens[row, 2 : 2 + length].tolist() == tokens
        assert float(tried.log_probs[row].sum()) / length**alpha == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("seed", range(3))
def test_a_cache_changes_nothing(cell: str, seed: int) -> None:
    built, prompt = model(seed, size=9, cell=cell), torch.tensor([[0, 1, 5], [4, 1, 8]])
    for decoder in (beam(max_tokens=12, beam_size=4), greedy(max_tokens=12), sampling(max_tokens=12, seed=3)):
        plain, cached = (decoder(next_logits(built, cache=cache), prompt, EOS) for cache in (False, True))
        assert torch.equal(plain.tokens, cached.tokens)
        torch.testing.assert_close(plain.log_probs, cached.log_probs, rtol=1e-9, atol=1e-9)


def test_a_cache_reads_each_token_once() -> None:
    built, read = model(0), []
    built.register_forward_pre_hook(lambda module, args: read.append(args[0].shape[1]))
    greedy(max_tokens=5)(Continuation(built), torch.tensor([[0, 1, 1]]))
    assert read == [3, 1, 1, 1, 1]


def test_a_beam_of_one_is_greedy() -> None:
    built, prompt = model(3), torch.tensor([[0], [1]])
    one, first = (decode(next_logits(built), prompt, EOS) for decode in (beam(9, beam_size=1), greedy(9)))
    assert torch.equal(one.tokens, first.tokens)


def test_a_wider_beam_scores_no_worse_on_the_book_s_figure() -> None:
    """Figures 10.8.1 and 10.8.2: greedy finds .048, a beam of 2 one of .054; without alpha A <eos>, .1, would win."""
    first = torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2], [0.2, 0.2, 0.4, 0.2], [0.0, 0.2, 0.2, 0.6]])
    other = torch.tensor([[0.1, 0.6, 0.2, 0.1], [0.1, 0.2, 0.1, 0.6]])

    def figure(tokens: Tensor) -> Tensor:
        t = tokens.shape[1] - 1
        rows = [(other[t - 2] if t >= 2 and row[2] == 2 else first[t]) for row in tokens.tolist()]
        return torch.stack(rows).log()

    made = beam(max_tokens=4, beam_size=2)(figure, torch.tensor([[3]]), 3)
    assert made.tokens.tolist() == [[3, 0, 2, 1, 3]]
    short = beam(max_tokens=4, beam_size=2, alpha=0.0)(figure, torch.tensor([[3]]), 3)
    assert short.tokens.tolist() == [[3, 0, 3]]
    assert made.log_probs.sum().exp().item() == pytest.approx(0.5 * 0.3 * 0.6 * 0.6)


def test_prefixes_may_compete() -> None:
    """With alpha 0 the shortest prefix has the largest sum."""
    made = beam(max_tokens=4, beam_size=3, alpha=0.0, candidates="prefix")(
        next_logits(model(1)), torch.tensor([[0]]), EOS
    )
    assert made.lengths.tolist() == [1]


def test_what_cannot_be_searched() -> None:
    with pytest.raises(ValueError, match="too many to try"):
        exhaustive(max_tokens=30)(next_logits(model(0)), torch.tensor([[0]]))
    with pytest.raises(NonFiniteError):
        beam()(lambda tokens: torch.full((len(tokens), 3), torch.nan), torch.tensor([[0]]))
    for options in ({"beam_size": 0}, {"alpha": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            beam(**options)  # type: ignore[arg-type]


def test_min_p_and_the_repetition_penalty() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    probs, ids = truncate(logits, 1.0, None, 1.0, min_p=0.4)
    assert ids[0, :2].tolist() == [0, 1]
    torch.testing.assert_close(probs[0], torch.tensor([0.625, 0.375, 0, 0], dtype=torch.float64))
    found = penalise(torch.tensor([[2.0, -1.0, 3.0]]), torch.tensor([[0, 1, 0]]), 2.0)
    assert found.tolist() == [[1.0, -2.0, 3.0]]
    with pytest.raises(ValueError, match="min_p"):
        sampling(min_p=2.0)
    with pytest.raises(ValueError, match="repetition_penalty"):
        sampling(repetition_penalty=0.0)
