"""Real learning curves for benchmarks/hpo.py: small networks that are trained when somebody asks for their error."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from d2lcli.hpo.space import Choice, Configuration, Float, Int, Space

Array = NDArray[np.float32]
TRAINING = 400


@dataclass
class State:
    """A network and what is known of it.

    Attributes:
        parameters: weights (64, h) and (h, 10), biases (h,) and (10,).
        velocities: of the parameters.
        random: of the order of the images.
        errors: of validation after each epoch so far.
    """

    parameters: list[Array]
    velocities: list[Array]
    random: np.random.Generator
    errors: list[float] = field(default_factory=list)


class Digits:
    """Perceptrons with one hidden layer on scikit-learn's digits: 400 images to train on, 1,397 to validate on.

    SGD with momentum and weight decay.  Each configuration has a seed of its own, so that it has one curve.  An epoch
    takes (1 + width / 16) / 2.35 seconds, 1 on average over the space.
    """

    space: Space = {  # noqa: RUF012 -- nobody changes it
        "lr": Float(1e-3, 1, log=True),
        "momentum": Float(0, 0.95),
        "width": Int(4, 64, log=True),
        "decay": Float(1e-6, 1e-1, log=True),
        "batch_size": Choice((20, 50)),
    }

    def __init__(self) -> None:
        data: Any = load_digits()
        order = np.random.default_rng(0).permutation(len(data.target))
        x, y = (data.data[order] / 16).astype(np.float32), data.target[order]
        self._x, self._y = x[:TRAINING], np.eye(10, dtype=np.float32)[y[:TRAINING]]
        self._x_valid, self._y_valid = x[TRAINING:], y[TRAINING:]
        self._states: dict[tuple[Any, ...], State] = {}

    def value(self, config: Configuration, epochs: float) -> float:
        """The validation error after so many epochs; 1 where training has diverged."""
        key = tuple(config.values())
        if key not in self._states:
            self._states[key] = self._begin(config)
        state = self._states[key]
        with np.errstate(over="ignore", invalid="ignore"):
            while len(state.errors) < epochs:
                self._train(state, config)
                state.errors.append(self._error(state))
        return state.errors[int(epochs) - 1]

    def seconds(self, config: Configuration, epochs: float) -> float:
        """Of training from the beginning."""
        return float((1 + config["width"] / 16) / 2.35 * epochs)

    def _begin(self, config: Configuration) -> State:
        random = np.random.default_rng(abs(hash(config["lr"])))  # of a float: the same in every process
        width = config["width"]
        first = random.standard_normal((64, width), np.float32) * (2 / 64) ** 0.5
        last = random.standard_normal((width, 10), np.float32) / width**0.5
        parameters = [first, np.zeros(width, np.float32), last, np.zeros(10, np.float32)]
        return State(parameters, [np.zeros_like(each) for each in parameters], random)

    def _train(self, state: State, config: Configuration) -> None:
        """One epoch."""
        lr, momentum, decay = (np.float32(config[name]) for name in ("lr", "momentum", "decay"))
        w, b, v, c = state.parameters
        order, size = state.random.permutation(TRAINING), config["batch_size"]
        for place in range(0, TRAINING, size):
            rows = order[place : place + size]
            x = self._x[rows]
            hidden = np.maximum(x @ w + b, 0)  # (B, h)
            scores = hidden @ v + c
            exponentials = np.exp(scores - scores.max(1, keepdims=True))
            wrong = (exponentials / exponentials.sum(1, keepdims=True) - self._y[rows]) / len(rows)  # (B, 10)
            back = (wrong @ v.T) * (hidden > 0)
            gradients = (x.T @ back, back.sum(0), hidden.T @ wrong, wrong.sum(0))
            for parameter, velocity, gradient in zip(state.parameters, state.velocities, gradients):
                velocity *= momentum
                velocity += gradient + decay * parameter
                parameter -= lr * velocity

    def _error(self, state: State) -> float:
        w, b, v, c = state.parameters
        scores = np.maximum(self._x_valid @ w + b, 0) @ v + c
        return float(np.mean(scores.argmax(1) != self._y_valid)) if np.isfinite(scores).all() else 1.0
