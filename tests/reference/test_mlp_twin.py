"""The MLP trained by autograd against a twin in NumPy with the gradients written out (d2l 5.3), step by step."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from d2lcli.models.mlp import mlp

Array = npt.NDArray[np.float64]


def softmax_minus_one_hot(logits: Array, labels: npt.NDArray[np.int64]) -> Array:
    """The gradient of the mean cross-entropy with respect to the logits."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    gradient = exponentials / exponentials.sum(1, keepdims=True)
    gradient[np.arange(len(labels)), labels] -= 1
    return gradient / len(labels)


def step(weights: list[Array], biases: list[Array], x: Array, labels: npt.NDArray[np.int64], lr: float) -> None:
    """One step of gradient descent on a network of tanh layers."""
    activations = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        activations.append(np.tanh(activations[-1] @ weight.T + bias))
    gradient = softmax_minus_one_hot(activations[-1] @ weights[-1].T + biases[-1], labels)
    for layer in reversed(range(len(weights))):
        below = gradient @ weights[layer] * (1 - activations[layer] ** 2)
        weights[layer] -= lr * gradient.T @ activations[layer]
        biases[layer] -= lr * gradient.sum(0)
        gradient = below


@pytest.mark.parametrize("hidden", [[], [7], [7, 5, 4]])
def test_fifty_steps(hidden: list[int]) -> None:
    torch.manual_seed(0)
    model = mlp(in_features=6, num_outputs=3, hidden=hidden, activation="tanh").double()
    parameters = [parameter.detach().numpy().copy() for parameter in model.parameters()]
    weights, biases = parameters[::2], parameters[1::2]
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, labels = rng.normal(size=(8, 6)), rng.integers(3, size=8)
        step(weights, biases, x, labels, lr=0.5)
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter -= 0.5 * parameter.grad
        for made, expected in zip(model.parameters(), parameters, strict=True):
            np.testing.assert_allclose(made.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
