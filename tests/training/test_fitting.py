"""Underfitting, overfitting, early stopping and weight decay, as the book shows them, through the whole product."""

from pathlib import Path

from runs import rows, train

import d2lcli

QUIET = ("hardware=cpu", "hardware.threads=1", "eval_every=100", "checkpoint_every=100000", "log_every=10")


def losses(folder: Path, experiment: str, *words: str) -> tuple[float, float]:
    """The loss on the training and on the validation split at the end."""
    train(folder, f"experiment={experiment}", *QUIET, *words)
    train_loss, val_loss = (
        d2lcli.evaluate(folder, checkpoint="last", split=split)["metrics"]["loss"] for split in ("train", "val")
    )
    return train_loss, val_loss


def test_polynomials_of_three_degrees(tmp_path: Path) -> None:
    """The noise has a variance of .01, which no fit can get below on new data, but for chance."""
    fitted = losses(tmp_path / "normal", "polynomial_normal_d2l")
    assert 0.005 < fitted[0] < 0.012 and 0.007 < fitted[1] < 0.013
    line = losses(tmp_path / "line", "polynomial_underfit_d2l", "epochs=100")
    assert min(line) > 5
    wild = losses(tmp_path / "wild", "polynomial_overfit_d2l", "epochs=400")
    assert wild[1] > 1.2 * wild[0] and wild[1] > 1.2 * fitted[1]


def test_early_stopping_keeps_the_minimum(tmp_path: Path) -> None:
    """20 points with much noise: the validation loss falls, and rises again."""
    words = (
        "model=linear_regression", "data=polynomial", "data.degree=19", "data.num_train=20", "data.noise=1",
        "optim=adam", "optim.lr=0.02", *QUIET, "eval_every=10", "epochs=400",
    )  # fmt: skip
    stopped = train(tmp_path / "stopped", *words, "patience=5", "keep=1")
    whole = train(tmp_path / "whole", *words)
    curve = [row["values"]["rmse"] for row in rows(tmp_path / "whole", "val")]
    lowest = min(range(len(curve)), key=curve.__getitem__)
    assert 5 < lowest < len(curve) - 10 and curve[-1] > 1.01 * curve[lowest]
    assert stopped["steps"] == 20 * (lowest + 1 + 5) < whole["steps"]  # 2 updates an epoch, 10 epochs an evaluation
    assert stopped["best"] == {"step": 20 * (lowest + 1), "rmse": curve[lowest]}
    kept = d2lcli.evaluate(tmp_path / "stopped")  # the best checkpoint
    assert kept["step"] == stopped["best"]["step"]
    assert abs(kept["metrics"]["rmse"] - curve[lowest]) < 1e-6 < stopped["metrics"]["rmse"] - curve[lowest]


def test_weight_decay_on_few_examples(tmp_path: Path) -> None:
    """200 inputs, 20 examples: both learn the examples, only with decay does the model learn the rule."""
    decayed = losses(tmp_path / "decayed", "weight_decay_d2l")
    free = losses(tmp_path / "free", "weight_decay_d2l", "optim.weight_decay=0")
    assert free[0] < 1e-6 and decayed[0] < 0.01
    assert decayed[1] < 0.02 and free[1] > 1000 * decayed[1]
