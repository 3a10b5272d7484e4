"""What every registered decoder must do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from d2lcli.config.places import conf_dir, conf_names
from d2lcli.config.yaml_text import load_yaml
from d2lcli.errors import ConfigError, NonFiniteError
from d2lcli.registry import DECODERS
from d2lcli.registry.options import check_value

V = 7
TABLE = torch.randn(V, V, generator=torch.Generator().manual_seed(3))
PROMPT = torch.tensor([[1, 2], [3, 4], [5, 6]])

TOKENS = [name for name in DECODERS.names() if not DECODERS.describe(name).task]  # those of functions have own tests
LONG = [name for name in TOKENS if name != "exhaustive"]  # all sequences of many tokens are too many
STEPWISE = [name for name in LONG if name != "beam"]  # what a search finds for more tokens may begin otherwise

long_decoder = pytest.mark.parametrize("name", LONG)
every_decoder = pytest.mark.parametrize("name", TOKENS)


def bigram(tokens: Tensor) -> Tensor:
    """Logits that depend on the last token alone."""
    return TABLE[tokens[:, -1]]


LENGTHS = {1: 2, 3: 4, 5: 1}  # by the first token of the prompt


def ending(tokens: Tensor) -> Tensor:
    """Each sequence must take 0 as its new token number LENGTHS[its first]; until then it must not."""
    logits = bigram(tokens)
    logits[:, 0] = -torch.inf
    due = torch.tensor([LENGTHS[first] for first in tokens[:, 0].tolist()]) == tokens.shape[1] - PROMPT.shape[1] + 1
    only = torch.full((V,), -torch.inf)
    only[0] = 0.0
    return torch.where(due[:, None], only, logits)


@long_decoder
def test_the_prompt_is_kept_and_tokens_are_appended(name: str) -> None:
    made = DECODERS.build(name, max_tokens=9)(bigram, PROMPT)
    assert made.tokens.shape == (3, 11)
    assert torch.equal(made.tokens[:, :2], PROMPT)
    assert made.lengths.tolist() == [9, 9, 9]
    assert int(made.tokens.min()) >= 0 and int(made.tokens.max()) < V


@every_decoder
def test_log_probabilities_are_the_model_s(name: str) -> None:
    made = DECODERS.build(name, max_tokens=5)(bigram, PROMPT)
    for i in range(3):
        for j in range(5):
            last, chosen = made.tokens[i, j + 1], made.tokens[i, j + 2]
            expected = -torch.nn.functional.cross_entropy(TABLE[last].double(), chosen)
            assert made.log_probs[i, j].item() == pytest.approx(expected.item(), abs=1e-12)


@every_decoder
def test_a_sequence_stops_at_its_end_token(name: str) -> None:
    made = DECODERS.build(name, max_tokens=5 if name == "exhaustive" else 50)(ending, PROMPT, 0)
    assert made.lengths.tolist() == [2, 4, 1]
    assert made.tokens.shape == (3, 6)  # as long as the longest
    for row, log_probs, length in zip(made.tokens[:, 2:], made.log_probs, made.lengths.tolist()):
        assert row[length - 1 :].eq(0).all() and row[: length - 1].ne(0).all()
        assert log_probs[length:].eq(0).all()


@long_decoder
def test_the_same_call_gives_the_same_tokens_and_leaves_the_global_generator_alone(name: str) -> None:
    decoder = DECODERS.build(name, max_tokens=20)
    first = decoder(bigram, PROMPT)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = decoder(bigram, PROMPT)
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", STEPWISE)
def test_a_longer_text_begins_with_the_shorter(name: str) -> None:
    short, long = (DECODERS.build(name, max_tokens=count)(bigram, PROMPT) for count in (4, 12))
    assert torch.equal(long.tokens[:, :6], short.tokens)


@every_decoder
def test_no_graph_is_built_and_the_prompt_is_not_changed(name: str) -> None:
    table, prompt = TABLE.clone().requires_grad_(), PROMPT.clone()
    made = DECODERS.build(name, max_tokens=3)(lambda tokens: table[tokens[:, -1]], prompt)
    assert not made.log_probs.requires_grad
    assert torch.equal(prompt, PROMPT)


@every_decoder
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_reported(name: str, bad: float) -> None:
    with pytest.raises(NonFiniteError, match="logits"):
        DECODERS.build(name, max_tokens=2)(lambda tokens: torch.full((len(tokens), V), bad), PROMPT)


@long_decoder
def test_a_masked_token_is_never_chosen(name: str) -> None:
    def masked(tokens: Tensor) -> Tensor:
        return bigram(tokens).index_fill(1, torch.tensor([0, 2, 6]), -torch.inf)

    made = DECODERS.build(name, max_tokens=200)(masked, PROMPT)
    assert set(made.tokens[:, 2:].flatten().tolist()) <= {1, 3, 4, 5}


@every_decoder
def test_misfits_are_refused(name: str) -> None:
    decoder = DECODERS.build(name)
    for prompt in (torch.tensor([1, 2]), torch.zeros(2, 0, dtype=torch.long), torch.zeros(1, 2)):
        with pytest.raises(ValueError, match="prompt"):
            decoder(bigram, prompt)
    with pytest.raises(ValueError, match="eos=7 must be an id below 7"):
        decoder(bigram, PROMPT, 7)
    with pytest.raises(ValueError, match=r"shape \(\d+, V\)"):
        decoder(lambda tokens: TABLE[0], PROMPT)


@every_decoder
def test_bad_options_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="max_tokens"):
        DECODERS.build(name, max_tokens=0)
    with pytest.raises(ValueError, match="max_tokens=0 must be at least 1"):
        DECODERS.get(name)(max_tokens=0)
    with pytest.raises(ConfigError, match="unknown option 'max_token'"):
        DECODERS.build(name, max_token=3)


def test_there_is_one_file_for_each_decoder() -> None:
    assert list(conf_names("decoder")) == DECODERS.names()


@pytest.mark.parametrize("name", DECODERS.names())
def test_the_file_holds_the_defaults(name: str) -> None:
    values: dict[str, Any] = load_yaml(conf_dir() / "decoder" / f"{name}.yaml")
    parameters = DECODERS.parameters(name)
    assert values.pop("name") == name
    assert values == {key: parameter.default for key, parameter in parameters.items()}
    assert {key: check_value(value, parameters[key]) for key, value in values.items()} == dict.fromkeys(values, "")
