"""The tasks of word embeddings: their own update against autograd and an optimizer, and GloVe against its formula."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from d2lcli.errors import DataError
from d2lcli.registry import LOSSES, METRICS, MODELS, OPTIMIZERS, TASKS
from d2lcli.tasks.word_losses import weighted_least_squares

V, C, T, W = 12, 4, 6, 2
COUNTS = torch.tensor([0, *range(30, 30 - V + 1, -1)])
NAMES = ["negative_sampling", "hierarchical_softmax", "full_softmax"]


def task(loss: str, **options: Any) -> Any:
    made = TASKS.build("word_embedding", loss=LOSSES.get(loss), metrics=[], **options)
    made.bind(SimpleNamespace(counts=COUNTS, word_tests=None), torch.device("cpu"))
    return made


def model(name: str, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    made = MODELS.build(name, vocab_size=V, embed_dim=5).to(dtype)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(8)  # far from zero, where all slopes are one half
    return made


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(1, V - 1, (C, T + 2 * W), generator=generator)  # the last word is not among them
    mask = torch.rand(C, T, 2 * W + 1, generator=generator) < 0.7
    mask[:, :, W] = False
    mask[0, 0] = False
    return words, mask


@pytest.mark.parametrize("loss", NAMES)
@pytest.mark.parametrize("name", ["skipgram", "cbow"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
def test_its_own_update_is_that_of_autograd_and_sgd(name: str, loss: str, dtype: torch.dtype, tolerance: float) -> None:
    own, other, chosen = model(name, dtype), model(name, dtype), task(loss)
    optimizer = OPTIMIZERS.build("sgd", params=other.parameters(), lr=0.7)
    for step in range(5):
        torch.manual_seed(step)
        expected = chosen.train_loss(other, batch())
        expected.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.manual_seed(step)
        found = chosen.advance(own, batch(), 0.7)
        assert found.item() == pytest.approx(expected.item(), rel=10 * tolerance)
    for key, value in other.state_dict().items():
        torch.testing.assert_close(own.state_dict()[key], value, rtol=tolerance, atol=tolerance)


def test_rows_of_other_words_stay() -> None:
    own = model("skipgram")
    before = own.input.weight.clone()
    task("negative_sampling").advance(own, batch(), 0.5)
    moved = (own.input.weight != before).any(1)
    assert not moved[0] and not moved[V - 1] and moved.any()


@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_the_loss_is_the_mean_of_the_evaluated_ones(name: str) -> None:
    chosen, made = task("full_softmax"), model(name)
    losses, vectors, _ = chosen.eval_step(made, batch())
    assert losses.shape == (C,) and vectors is made.input.weight
    torch.testing.assert_close(losses.mean(), chosen.train_loss(made, batch()))


def test_an_evaluation_draws_nothing() -> None:
    chosen, made = task("negative_sampling"), model("skipgram")
    before = torch.random.get_rng_state()
    first, again = (chosen.eval_step(made, batch())[0] for _ in range(2))
    assert torch.equal(first, again) and torch.equal(torch.random.get_rng_state(), before)
    alone = torch.cat([chosen.eval_step(made, tuple(each[i : i + 1] for each in batch()))[0] for i in range(C)])
    torch.testing.assert_close(alone, first)


def test_cbow_is_the_softmax_of_the_mean() -> None:
    made, (words, mask) = model("cbow"), batch()
    expected = torch.zeros(C, dtype=torch.float64)
    for c in range(C):
        for i in range(T):
            near = words[c, i : i + 2 * W + 1][mask[c, i]]
            if len(near):
                scores = made.output.weight @ made.input.weight[near].mean(0)
                expected[c] -= scores.log_softmax(0)[words[c, i + W]] / T
    torch.testing.assert_close(task("full_softmax").eval_step(made, (words, mask))[0], expected)


def test_a_row_without_a_mask_predicts_each_word_from_all_others() -> None:
    made, tokens = model("cbow"), torch.tensor([[1, 2, 5]])
    expected = made.output.weight @ (made.input.weight[1] + made.input.weight[5]) / 2
    torch.testing.assert_close(made(tokens)[0, 1], expected)
    assert made(tokens[:, :1]).eq(0).all()


def test_other_losses_and_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="negative_sampling, hierarchical_softmax, full_softmax"):
        TASKS.get("word_embedding")(loss=LOSSES.get("mse"))
    with pytest.raises(ValueError, match="'accuracy' is for predictions"):
        TASKS.get("word_embedding")(loss=LOSSES.get("full_softmax"), metrics=[METRICS.build("accuracy")])
    with pytest.raises(ValueError, match="'wordsim353' is taken"):
        TASKS.get("glove")(
            loss=weighted_least_squares, metrics=[METRICS.build("wordsim353"), METRICS.build("wordsim353")]
        )
    with pytest.raises(ValueError, match="weighted_least_squares"):
        TASKS.get("glove")(loss=LOSSES.get("mse"))
    with pytest.raises(ValueError, match="x_max"):
        TASKS.get("glove")(loss=partial(weighted_least_squares, x_max=0.0))
    for name in ("skipgram", "glove"):
        with pytest.raises(ValueError, match="embed_dim must be at least 1"):
            MODELS.get(name)(embed_dim=0)
    with pytest.raises(DataError, match="no examples"):
        task("full_softmax").check((6,), V, torch.empty(0))


# GloVe


def test_glove_is_its_formula() -> None:
    """h(x) (u_j . v_i + b_i + c_j - log x)^2 with h(x) = min(x / 100, 1)^.75, and its gradients (d2l 15.5.2)."""
    made: Any = model("glove")
    counts = torch.tensor([0.5, 1.0, 30.0, 100.0, 2000.0], dtype=torch.float64)
    pairs = torch.tensor([[1, 2], [2, 1], [3, 3], [4, 5], [6, 1]])
    loss = TASKS.build("glove", loss=weighted_least_squares, metrics=[]).train_loss(made, (pairs, counts.log()))
    loss.backward()
    v, u = made.input.weight.detach(), made.output.weight.detach()
    b, c = made.input_bias.weight.detach(), made.output_bias.weight.detach()
    expected, by_v, by_c = 0.0, torch.zeros_like(v), torch.zeros_like(c)
    for (i, j), x in zip(pairs.tolist(), counts):
        h = min((x / 100) ** 0.75, torch.tensor(1.0))
        error = u[j] @ v[i] + b[i, 0] + c[j, 0] - x.log()
        expected += h * error**2 / 5
        by_v[i] += 2 * h * error * u[j] / 5
        by_c[j] += 2 * h * error / 5
    torch.testing.assert_close(loss, torch.as_tensor(expected))
    torch.testing.assert_close(made.input.weight.grad, by_v)
    torch.testing.assert_close(made.output_bias.weight.grad, by_c)


def test_glove_s_vectors_are_the_sums_of_its_tables() -> None:
    made: Any = model("glove")
    assert torch.equal(made.vectors(), made.input.weight + made.output.weight)
    torch.testing.assert_close(made(torch.tensor([[3, 4]]))[0, 1, 7], made(torch.tensor([4]), torch.tensor([7]))[0])


def test_ratings_decide_glove_s_best_checkpoint_where_there_are_enough() -> None:
    chosen = TASKS.build("glove", loss=weighted_least_squares, metrics=[METRICS.build("wordsim353")])
    assert (chosen.monitor, chosen.mode) == ("loss", "min")
    rated = {"wordsim353": SimpleNamespace(pairs=torch.zeros(150, 2, dtype=torch.int64), ratings=torch.zeros(150))}
    chosen.bind(SimpleNamespace(word_tests=SimpleNamespace(rated=rated)), torch.device("cpu"))
    assert (chosen.monitor, chosen.mode) == ("wordsim353", "max")
