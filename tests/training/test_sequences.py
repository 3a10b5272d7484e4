"""Runs of language and translation models: resume, streams, truncation, and updates in parts."""

from pathlib import Path

import pytest
import torch
from runs import assert_equal, outcome, resume, train, weights
from torch import nn

from d2lcli.config import compose
from d2lcli.data.windows import WindowLoader, text_split
from d2lcli.models.rnn_lm import rnn_lm
from d2lcli.tasks.language_model import language_model
from d2lcli.tasks.losses import cross_entropy
from d2lcli.training.build import build

LM = (
    "model=rnn_lm", "model.hidden_size=8", "data.limit=40", "data.num_steps=6", "data.batch_size=5", "epochs=3",
    "hardware=cpu", "optim=sgd", "optim.lr=0.5", "scheduler=constant", "checkpoint_every=3",
)  # fmt: skip
PAIRS = (
    "model=seq2seq", "model.embed_dim=8", "model.hidden_size=8", "model.num_layers=1", "model.dropout=0.0",
    "data.limit=48", "data.batch_size=16", "epochs=2", "hardware=cpu", "optim=sgd", "optim.lr=0.5",
    "scheduler=constant", "checkpoint_every=2",
)  # fmt: skip
MASKED = (
    "model=bert", "model.dim=8", "model.num_heads=2", "model.num_layers=1", "model.hidden=8", "data.limit=40",
    "data.num_steps=20", "data.batch_size=10", "epochs=3", "hardware=cpu", "optim=sgd", "optim.lr=0.5",
    "scheduler=constant", "checkpoint_every=3",
)  # fmt: skip
SPANS = (
    "model=t5", "model.dim=8", "model.num_heads=2", "model.head_dim=4", "model.num_layers=1", "model.hidden=8",
    "model.dropout=0.1", "data.num_steps=20", "data.limit=40", *MASKED[7:],
)  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([*LM, "data.partition=sequential", "model.cell=lstm"], id="streams"),
        pytest.param([*LM, "task.tbptt=2", "task.tbptt_keep=0.5", "model.dropout=0.3"], id="truncated by chance"),
        pytest.param([*PAIRS, "task.teacher_forcing=0.5", "model.dropout=0.2"], id="translation"),
        pytest.param([*MASKED], id="masked"),
        pytest.param([*MASKED, "model.checkpointing=true", "accumulate=2"], id="masked and accumulated"),
        pytest.param([*SPANS], id="spans"),
    ],
)
@pytest.mark.parametrize("step", [1, 4, 5])
def test_a_stopped_run_ends_like_one_that_was_not(
    words: list[str], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runs import stop_at

    from d2lcli.training import signals

    train(tmp_path / "whole", *words)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(signals.Stopped):
            train(tmp_path / "part", *words)
    resume(tmp_path / "part")
    assert_equal(tmp_path / "part", outcome(tmp_path / "whole"))


def test_an_accumulated_update_weighs_tokens(tmp_path: Path) -> None:
    """48 pairs in one batch, and in three that are added up: the same update."""
    train(tmp_path / "one", *PAIRS, "data.batch_size=48", "epochs=1")
    train(tmp_path / "three", *PAIRS, "accumulate=3", "epochs=1")
    one, three = weights(tmp_path / "one"), weights(tmp_path / "three")
    for name, value in one.items():
        torch.testing.assert_close(three[name], value, rtol=1e-4, atol=1e-6)


def test_streams_go_on_from_batch_to_batch() -> None:
    tokens = torch.arange(103)
    loader = WindowLoader(text_split(tokens, 5, "sequential", "train", ""), batch_size=3, seed=0, shuffle=True)
    before = None
    for inputs, targets, going_on in loader.batches(1):
        assert torch.equal(targets, inputs + 1) and bool(going_on) == (before is not None)
        assert before is None or torch.equal(inputs[:, 0], before[:, -1] + 1)
        before = inputs
    assert len(loader) == 19 // 3
    starts = {int(next(iter(loader.batches(epoch)))[0][0, 0]) for epoch in range(20)}
    assert len(starts) > 3  # another offset in each epoch


def test_windows_of_all_kinds() -> None:
    tokens = torch.arange(50)
    overlapping = WindowLoader(text_split(tokens, 4, "overlapping", "train", ""), batch_size=7, seed=0, shuffle=True)
    firsts = torch.cat([inputs[:, 0] for inputs, _ in overlapping.batches(0)])
    assert sorted(firsts.tolist()) == list(range(46))
    disjoint = WindowLoader(text_split(tokens, 4, "random", "val", ""), batch_size=5, seed=0, shuffle=False)
    inputs = torch.cat([inputs for inputs, _ in disjoint.batches(0)])
    assert inputs.flatten().tolist() == list(range(48))


def model_and_batch() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = rnn_lm(vocab_size=7, cell="rnn", hidden_size=5, scratch=True).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model, torch.randint(7, (2, 12))


def gradient(model: nn.Module, tokens: torch.Tensor, **options: float) -> torch.Tensor:
    task = language_model(cross_entropy, (), **options)  # type: ignore[arg-type]
    loss = task.train_loss(model, (tokens, tokens.roll(-1, 1)))
    (found,) = torch.autograd.grad(loss, [model.recurrent.layers[0].weight_h])
    return found


def test_truncation_cuts_the_gradient_and_not_the_state() -> None:
    model, tokens = model_and_batch()
    task = language_model(cross_entropy, (), tbptt=4)
    whole = model(tokens)
    logits, _ = task._unroll(model, tokens, model.begin(2))
    torch.testing.assert_close(logits, whole)
    embedded = torch.nn.functional.one_hot(tokens, 7).double().requires_grad_()
    state = model.begin(2)
    for piece in embedded.split(4, 1):
        state = tuple(part.detach() for part in state)
        outputs, state = model.recurrent(piece, state)
    (back,) = torch.autograd.grad(outputs.sum(), embedded)
    assert back[:, :8].eq(0).all() and back[:, 8:].ne(0).any()
    assert torch.equal(gradient(model, tokens, tbptt=12), gradient(model, tokens, tbptt=100))
    assert not torch.allclose(gradient(model, tokens, tbptt=2), gradient(model, tokens, tbptt=12))


def test_the_mean_of_randomly_truncated_gradients_is_the_whole_one() -> None:
    model, tokens = model_and_batch()
    whole, cut = gradient(model, tokens, tbptt=12), gradient(model, tokens, tbptt=4)
    torch.manual_seed(1)
    mean = torch.stack([gradient(model, tokens, tbptt=4, tbptt_keep=0.5) for _ in range(600)]).mean(0)
    assert (mean - whole).norm() < 0.25 * (cut - whole).norm()


def test_a_run_is_evaluated_on_other_texts_with_its_own_tokenizer(tmp_path: Path) -> None:
    """Whose letters and ids would else be those of the other text."""
    from d2lcli import evaluate

    for name, text in (("one", "abcdefgh " * 60), ("other", "hgfe dcba. " * 60)):
        (tmp_path / name).write_text(text)
    words = ("model=rnn_lm", "model.hidden_size=4", "data=text_file", "data.num_steps=8", "epochs=1", "hardware=cpu")
    train(tmp_path / "run", *words, f"data.path={tmp_path / 'one'}", "data.batch_size=8")
    found = evaluate(tmp_path / "run", [f"data.path={tmp_path / 'other'}"])
    assert found["metrics"]["perplexity"] > 1


def test_weights_of_a_run_bring_its_tokenizer(tmp_path: Path) -> None:
    train(tmp_path / "first", *MASKED, "data.tokenizer={name: wordpiece, vocab_size: 300}", "epochs=1")
    train(tmp_path / "second", *MASKED, f"weights={tmp_path / 'first'}", "epochs=1")
    files = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
    train(tmp_path / "third", *MASKED, "epochs=1")
    assert (tmp_path / "third" / "tokenizer.json").read_bytes() != files[0]


def test_weights_under_other_tokens_are_warned_of(tmp_path: Path) -> None:
    """Their embeddings would fit by their shape and stand for other words."""
    from d2lcli.config import compose
    from d2lcli.training.build import build

    pieces = "data.tokenizer={name: wordpiece, vocab_size: 300%s}"
    train(tmp_path / "first", *MASKED, pieces % "", "epochs=1")
    found = []
    for options in ("", ", score: frequency"):
        transfer = build(compose([*MASKED, pieces % options, f"weights={tmp_path / 'first'}"]).values).transfer
        assert transfer is not None and len(transfer.taken) == transfer.total
        found.append(transfer.lines()[-1])
    assert "trained with other tokens than data.tokenizer has" in found[1]
    assert "other tokens" not in found[0]


def test_a_model_with_one_vocabulary_translates_with_a_shared_one(tmp_path: Path) -> None:
    from d2lcli.errors import ConfigError

    (tmp_path / "pairs.tsv").write_text("one two\tuno dos\ntwo one\tdos uno\n" * 20)
    data = ("data=parallel_text", f"data.path={tmp_path / 'pairs.tsv'}", "data.batch_size=8")
    words = [*SPANS[:7], *data, "epochs=1", "scheduler=constant"]
    with pytest.raises(ConfigError, match=r"has one vocabulary, but data 'parallel_text' has two"):
        train(tmp_path / "run", *words)
    train(tmp_path / "run", *words, "data.shared=true", "hardware=cpu")
    files = [(tmp_path / "run" / name).read_bytes() for name in ("tokenizer.json", "source_tokenizer.json")]
    assert files[0] == files[1]
    resume(tmp_path / "run", "epochs=2", allow_drift=True)


def test_a_config_that_does_not_fit(tmp_path: Path) -> None:
    from d2lcli.errors import ConfigError, DataError

    for words, said in (
        (["model=rnn_lm", "data=tatoeba_en_es_mini"], "no data for model 'rnn_lm'"),
        (["model=lenet", "data=botchan"], "no data for model 'lenet'"),
        (["model=rnn_lm", "task=classification"], "no task for model 'rnn_lm'"),
        (["model=rnn_lm", "data.tokenizer=chars"], "did you mean 'char'"),
    ):
        with pytest.raises(ConfigError, match=said):
            compose(words)
    for content, said in ((b"", "empty"), (b"short", "too few"), (b"\xff\xfe", "not UTF-8")):
        (tmp_path / "text").write_bytes(content)
        with pytest.raises(DataError, match=said):
            build(compose(["model=rnn_lm", "data=text_file", f"data.path={tmp_path / 'text'}"]).values)
    with pytest.raises(ConfigError, match="reads the future"):
        build(compose(["model=rnn_lm", "model.bidirectional=true"]).values)
