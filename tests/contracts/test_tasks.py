"""What every registered task must do."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2lcli.errors import DataError
from d2lcli.registry import LOSSES, METRICS, TASKS

# For each task: a loss, a metric, outputs of the model, and a batch of targets that fit it.
CASES: dict[str, tuple[str, str, int]] = {
    "classification": ("cross_entropy", "accuracy", 3),
    "regression": ("mse", "rmse", 1),
    "language_model": ("cross_entropy", "perplexity", 3),
    "tagging": ("cross_entropy", "accuracy", 3),
    "question_answering": ("cross_entropy", "exact_match", 2),
}
# Have tests of their own: their batches are of other kinds.
OTHERS = {"sequence_to_sequence", "masked_language_model", "marginal_likelihood"}
OTHERS |= {"gan"}
OTHERS |= {"q_learning", "value_iteration", "policy_iteration", "policy_evaluation"}  # on tables, without gradients
OTHERS |= {"word_embedding", "glove"}
every_task = pytest.mark.parametrize("name", [name for name in TASKS.names() if name not in OTHERS])


def build(name: str) -> Any:
    loss, metric, _ = CASES[name]
    return TASKS.build(name, loss=LOSSES.get(loss), metrics=[METRICS.build(metric)])


class Encoder(nn.Embedding):
    """Logits of each token by itself, called as an encoder is."""

    def forward(self, tokens: Tensor, segments: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        return super().forward(tokens)


def model_for(name: str) -> nn.Module:
    reads = name in ("language_model", "tagging", "question_answering")
    return Encoder(4, CASES[name][2]) if reads else nn.Linear(4, CASES[name][2])


def batch(name: str, n: int = 40) -> tuple[Any, Tensor]:
    generator = torch.Generator().manual_seed(0)
    if name == "question_answering":  # a question of one token, and a text of four, whose 3 is the answer
        tokens = torch.randint(3, (n, 8), generator=generator)
        answers = torch.randint(3, 7, (n,), generator=generator)
        tokens[torch.arange(n), answers] = 3
        segments = (torch.arange(8) > 2).long().expand(n, 8)
        return (tokens, segments, torch.full((n,), 8)), torch.stack([answers, answers], 1)
    if name == "tagging":
        tokens = torch.randint(4, (n // 5, 6), generator=generator)
        return (tokens, tokens, torch.full((n // 5,), 6)), ((tokens + 1) % 3).index_fill(1, torch.tensor([0]), -100)
    if name == "language_model":
        tokens = torch.randint(4, (n // 5, 5), generator=generator)
        return tokens, (tokens + 1) % 3
    inputs = torch.randn(n, 4, generator=generator)
    scores = inputs @ torch.randn(4, CASES[name][2], generator=generator)
    return inputs, scores.argmax(1) if name == "classification" else scores


def test_every_task_has_a_case() -> None:
    assert sorted([*CASES, *OTHERS]) == TASKS.names()


@every_task
def test_the_training_loss_is_the_mean_of_the_evaluated_ones(name: str) -> None:
    task, model = build(name), model_for(name)
    loss = task.train_loss(model, batch(name))
    losses, outputs, targets = task.eval_step(model, batch(name))
    assert loss.ndim == 0 and loss.requires_grad
    assert losses.shape == (40,) and outputs.shape[0] == len(targets) == 40
    torch.testing.assert_close(losses.mean(), loss)


@every_task
def test_training_improves_the_monitored_value(name: str) -> None:
    torch.manual_seed(0)
    task, model = build(name), model_for(name)
    metric = task.metrics[task.monitor]

    def value() -> float:
        metric.reset("cpu")
        _, outputs, targets = task.eval_step(model, batch(name))
        metric.update(outputs.detach(), targets)
        found: float = metric.compute()
        return found

    before = value()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(100):
        task.train_loss(model, batch(name)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert value() > before if task.mode == "max" else value() < before


@every_task
def test_data_that_fits_passes_and_an_empty_split_does_not(name: str) -> None:
    task, (inputs, targets) = build(name), batch(name)
    shape = (inputs[0] if isinstance(inputs, tuple) else inputs).shape[1:]
    task.check(shape, CASES[name][2], targets)
    with pytest.raises(DataError):
        task.check(shape, CASES[name][2], targets[:0])
