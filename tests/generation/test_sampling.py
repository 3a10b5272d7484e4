"""Sampling: the truncated distributions in closed form, and frequencies by chi-square."""

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from d2lcli.errors import ConfigError
from d2lcli.generation.greedy import greedy
from d2lcli.generation.sampling import invert, sampling, truncate
from d2lcli.registry import DECODERS

PROBS = [0.1, 0.4, 0.05, 0.25, 0.2]
LOGITS = torch.tensor([PROBS], dtype=torch.float64).log()


def distribution(temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0) -> list[float]:
    """What is sampled from, in the order of the ids."""
    probs, ids = truncate(LOGITS, temperature, top_k, top_p)
    return torch.zeros_like(probs).scatter(1, ids, probs)[0].tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, PROBS),
        ({"top_k": 1}, [0, 1, 0, 0, 0]),
        ({"top_k": 2}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
        ({"top_k": 99}, PROBS),
        ({"top_p": 0.01}, [0, 1, 0, 0, 0]),
        ({"top_p": 0.399}, [0, 1, 0, 0, 0]),
        ({"top_p": 0.401}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
        ({"top_p": 0.8}, [0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85]),
        ({"top_p": 0.96}, PROBS),
        # of the three most probable, renormalised to .4706, .2941, .2353, the first two reach .75
        ({"top_k": 3, "top_p": 0.75}, [0, 0.4 / 0.65, 0, 0.25 / 0.65, 0]),
        ({"temperature": 0.5}, [p * p / 0.275 for p in PROBS]),
        # squared, .5818 and .2273 of the whole reach .8; at temperature 1 the nucleus of .8 holds three
        ({"temperature": 0.5, "top_p": 0.8}, [0, 0.16 / 0.2225, 0, 0.0625 / 0.2225, 0]),
        ({"temperature": 0}, [0, 1, 0, 0, 0]),
        ({"temperature": 1e-320}, [0, 1, 0, 0, 0]),  # no logit may overflow to NaN
        ({"temperature": 1e300}, [0.2] * 5),
    ],
)
def test_the_distribution_is_the_closed_form(options: dict[str, float], expected: list[float]) -> None:
    assert distribution(**options) == pytest.approx(expected, abs=1e-12)  # type: ignore[arg-type]


def test_the_nucleus_ends_where_the_sum_reaches_top_p() -> None:
    """Four equal tokens have exactly 1/4 each: two of them reach 1/2, and the third is not needed."""
    for top_p, kept in [(0.25, 1), (0.5, 2), (0.5000001, 3), (0.75, 3)]:
        probs, _ = truncate(torch.zeros(1, 4), 1.0, None, top_p)
        assert probs[0].tolist() == pytest.approx([1 / kept] * kept + [0] * (4 - kept))


def test_equal_tokens_keep_the_order_of_their_ids() -> None:
    probs, ids = truncate(torch.zeros(1, 40), 1.0, 3, 1.0)
    assert ids[0, :3].tolist() == [0, 1, 2]
    assert probs[0, :4].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_the_inverse_of_the_distribution_function() -> None:
    probs = torch.tensor([[0.5, 0.25, 0.0, 0.25]], dtype=torch.float64)
    for uniform, place in [(0.0, 0), (0.4999, 0), (0.5, 1), (0.7499, 1), (0.75, 3), (1 - 2**-53, 3)]:
        assert invert(probs, torch.tensor([[uniform]], dtype=torch.float64)).item() == place


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.5}, {"temperature": 2.0}, {"top_k": 3}, {"top_p": 0.8}, {"top_k": 4, "top_p": 0.7}],
)
def test_frequencies_follow_the_distribution(options: dict[str, float]) -> None:
    count = 40_000
    made = sampling(max_tokens=1, seed=5, **options)(  # type: ignore[arg-type]
        lambda tokens: LOGITS.expand(len(tokens), 5), torch.zeros(count, 1, dtype=torch.long)
    )
    counts = torch.bincount(made.tokens[:, 1], minlength=5)
    expected = torch.tensor(distribution(**options), dtype=torch.float64) * count  # type: ignore[arg-type]
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert chisquare(counts[possible].numpy(), expected[possible].numpy()).pvalue > 0.001


def test_the_test_would_notice_a_wrong_distribution() -> None:
    made = sampling(max_tokens=1, temperature=1.1)(
        lambda tokens: LOGITS.expand(len(tokens), 5), torch.zeros(40_000, 1, dtype=torch.long)
    )
    counts = torch.bincount(made.tokens[:, 1], minlength=5)
    assert chisquare(counts.numpy(), [p * 40_000 for p in PROBS]).pvalue < 1e-6


def test_successive_draws_are_independent() -> None:
    """Pairs of neighbouring tokens of one text against the product of their probabilities."""
    made = sampling(max_tokens=8_001, seed=11)(lambda tokens: LOGITS[:, :3], torch.tensor([[0]]))
    drawn = made.tokens[0, 1:]
    pairs = torch.bincount(drawn[:-1:2] * 3 + drawn[1::2], minlength=9)
    single = LOGITS[0, :3].softmax(0)
    expected = torch.outer(single, single).flatten() * pairs.sum()
    assert chisquare(pairs.numpy(), expected.numpy()).pvalue > 0.001


@pytest.mark.parametrize("temperature", [0.0, 1e-6, 1e-3])
def test_towards_temperature_0_it_is_greedy(temperature: float) -> None:
    table = torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    prompt = torch.arange(30)[:, None]

    def bigram(tokens: Tensor) -> Tensor:
        return table[tokens[:, -1]]

    sampled = sampling(max_tokens=20, temperature=temperature)(bigram, prompt)
    searched = greedy(max_tokens=20)(bigram, prompt)
    assert torch.equal(sampled.tokens, searched.tokens)
    assert torch.equal(sampled.log_probs, searched.log_probs)


def test_another_seed_gives_another_text() -> None:
    texts = [
        sampling(max_tokens=30, seed=seed)(lambda tokens: LOGITS, torch.tensor([[0]])).tokens.tolist()[0]
        for seed in range(20)
    ]
    assert len({tuple(text) for text in texts}) == 20


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", -0.1), ("top_k", 0), ("top_p", 0.0), ("top_p", 1.1), ("seed", -1), ("temperature", float("nan"))],
)
def test_bad_values_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=option):
        DECODERS.build("sampling", **{option: value})
    with pytest.raises(ValueError, match=f"{option}={value!r} must be"):
        sampling(**{option: value})  # type: ignore[arg-type]
