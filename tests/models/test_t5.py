"""T5: published sizes, initial weights, relative positions, masks, cached decoding, activation checkpointing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.generation.beam import beam
from d2lcli.generation.greedy import greedy
from d2lcli.generation.translation import Decoding
from d2lcli.models.t5 import T5, t5, t5_base, t5_small, t5_tiny
from d2lcli.nn.relative_positions import RelativePositions, bucket_starts
from d2lcli.training.heads import head_name
from d2lcli.training.summary import summarize

LENGTHS = torch.tensor([6, 2, 4])


def small(**options: Any) -> T5:
    """Few buckets, so that the sentences of these tests reach all of them."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 11, "dim": 8, "num_heads": 2, "head_dim": 3, "num_layers": 2, "hidden": 12}
    model = t5(**sizes | {"buckets": 4, "max_distance": 4, "dropout": 0.0} | options).double().eval()
    for positions in (model.encoder_positions, model.decoder_positions):
        nn.init.normal_(positions.table.weight)
    return model


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(4, 11, (3, 6), generator=generator)
    source = source.masked_fill(torch.arange(6) >= LENGTHS[:, None], 1)
    return source, LENGTHS, torch.randint(4, 11, (3, 7), generator=generator)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("build", "published"), [(t5_small, 60_506_624), (t5_base, 222_903_552)])
def test_the_published_number_of_parameters(build: Callable[..., T5], published: int) -> None:
    with torch.device("meta"):
        assert count(build()) == published


def test_the_number_of_parameters_of_the_small_one() -> None:
    """Per block 4 d h c for an attention, 2 d f for the two layers, d for a norm; 32 h for positions, d at the end."""
    d, inner, hidden, heads, blocks = 128, 128, 512, 4, 3
    encoder = 4 * d * inner + 2 * d * hidden + 2 * d
    decoder = encoder + 4 * d * inner + d
    expected = blocks * (encoder + decoder) + 2 * (32 * heads + d)
    assert count(t5_tiny(vocab_size=500)) == 500 * d + expected == 500 * d + 1_378_688


def test_initial_weights() -> None:
    """Those of the paper's code, measured over 1,000 values or more."""
    torch.manual_seed(0)
    d, c, heads, hidden = 96, 64, 2, 200
    model = t5(vocab_size=300, dim=d, num_heads=heads, head_dim=c, hidden=hidden, num_layers=1, buckets=1024,
               max_distance=2000)  # fmt: skip
    stds = {
        "embedding": 1.0, "table": d**-0.5, "query": (d * c) ** -0.5, "key": d**-0.5, "value": d**-0.5,
        "out": (heads * c) ** -0.5, "linear1": d**-0.5, "linear2": hidden**-0.5,
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert parameter.eq(1).all() and "norm" in name
        else:
            expected = stds[name.split(".")[-2]]
            assert parameter.std().item() == pytest.approx(expected, rel=0.04), name
            assert abs(parameter.mean().item()) < expected / 20, name


def test_one_table_of_embeddings_and_no_biases() -> None:
    model = small()
    assert model.head.weight is model.embedding.weight
    assert not [name for name, _ in model.named_parameters() if "bias" in name]
    assert head_name(model) == "head"


@torch.no_grad()
def test_the_head_divides_by_the_root_of_the_width() -> None:
    model, seen = small(), []
    model.decoder_norm.register_forward_hook(lambda layer, args, out: seen.append(out))
    torch.testing.assert_close(model(*batch()), seen[0] @ model.embedding.weight.T / 8**0.5)


@torch.no_grad()
def test_version_1_1_gates_its_hidden_units_and_has_a_head_of_its_own() -> None:
    """W_2 (gelu(W_g x) * W_1 x), gelu by its tanh; and logits W x without a division."""
    model, seen = small(activation="gelu_tanh", gated=True, tied=False, decoder_layers=3), []
    assert (len(model.encoder), len(model.decoder)) == (2, 3)
    layer, x = model.encoder[0].feed_forward, torch.randn(2, 3, 8, dtype=torch.float64)
    gate, up, down = (part.weight for part in (layer.gate, layer.linear1, layer.linear2))
    g = x @ gate.T
    gelu = g * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (g + 0.044715 * g**3))) / 2
    torch.testing.assert_close(layer(x), (gelu * (x @ up.T)) @ down.T)
    model.decoder_norm.register_forward_hook(lambda layer, args, out: seen.append(out))
    torch.testing.assert_close(model(*batch()), seen[0] @ model.head.weight.T)
    assert not torch.equal(model.head.weight, model.embedding.weight)


def test_the_published_number_of_parameters_of_version_1_1() -> None:
    """T5 1.1 and Flan-T5, small: 76,961,152, as in transformers for google/t5-v1_1-small."""
    with torch.device("meta"):
        model = t5(dim=512, num_heads=6, num_layers=8, hidden=1024, activation="gelu_tanh", gated=True, tied=False)
    assert count(model) == 76_961_152


def test_bucket_starts() -> None:
    """8 (128 / 8)^(k / 8) = 8 sqrt(2)^k for k = 1 ... 7, rounded up; and 16 * 8^(k / 16) for k = 1 ... 15."""
    assert bucket_starts(16, 128) == [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
    later = [19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
    assert bucket_starts(32, 128) == [*range(1, 17), *later]
    assert bucket_starts(10, 160) == [1, 2, 3, 4, 5, 10, 20, 40, 80], "5 * 2^k"
    assert bucket_starts(2, 4) == [1]


def test_buckets_of_distances() -> None:
    """Keys before the query have the first half of the buckets, and all of them where none comes after it."""
    both, causal = (RelativePositions(2, 1.0, 32, 128, causal=causal) for causal in (False, True))
    before = {0: 0, 1: 1, 7: 7, 8: 8, 11: 8, 12: 9, 63: 13, 64: 14, 90: 14, 91: 15, 128: 15, 5000: 15}
    distances = torch.tensor(list(before))
    assert both.bucket(-distances).tolist() == list(before.values())
    assert both.bucket(distances[1:]).tolist() == [16 + bucket for bucket in list(before.values())[1:]]
    before = {0: 0, 1: 1, 15: 15, 16: 16, 18: 16, 19: 17, 112: 30, 113: 31, 128: 31, 5000: 31}
    assert causal.bucket(-torch.tensor(list(before))).tolist() == list(before.values())


def test_positions_of_further_tokens_are_the_last_rows() -> None:
    positions = small().decoder_positions
    whole = positions(0, 7)
    assert whole.shape == (1, 2, 7, 7)
    assert torch.equal(positions(4, 3), whole[:, :, 4:])
    for i in range(7):
        for j in range(7):
            expected = torch.finfo(torch.float64).min
            if j <= i:  # 4 buckets: distances 0, 1, 2 and more from the square root of 8 on
                expected = positions.table.weight[min(i - j, 3)].tolist()
            assert whole[0, :, i, j].tolist() == (expected if j <= i else [expected] * 2)


@torch.no_grad()
def test_a_layer_equals_its_formula() -> None:
    """The encoder, written out token by token."""
    model = small(num_layers=1)
    source, _, _ = batch()
    tokens = source[:1]

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    block, x = model.encoder[0], model.embedding.weight[tokens[0]]
    for weight in (block.attention_norm.weight, block.feed_forward_norm.weight, model.encoder_norm.weight):
        nn.init.normal_(weight)
    attention, inputs = block.attention, norm(x, block.attention_norm.weight)
    bias = model.encoder_positions(0, 6)[0]
    heads = []
    for head in range(2):
        q, k, v = (inputs @ each.weight[3 * head : 3 * head + 3].T for each in
                   (attention.query, attention.key, attention.value))  # fmt: skip
        heads.append((q @ k.T + bias[head]).softmax(1) @ v)
    x = x + torch.cat(heads, 1) @ attention.out.weight.T
    hidden = norm(x, block.feed_forward_norm.weight) @ block.feed_forward.linear1.weight.T
    x = x + hidden.clamp(min=0) @ block.feed_forward.linear2.weight.T
    made, _ = model._encode(tokens, torch.tensor([6]))
    torch.testing.assert_close(made[0], norm(x, model.encoder_norm.weight))


@pytest.mark.parametrize("training", [False, True])
def test_no_token_sees_a_later_one(training: bool) -> None:
    model, (source, lengths, inputs) = small().train(training), batch()
    outputs = model(source, lengths, inputs)
    for t in range(1, 7):
        changed = inputs.clone()
        changed[:, t] = (inputs[:, t] + 1 - 4) % 7 + 4
        other = model(source, lengths, changed)
        torch.testing.assert_close(other[:, :t], outputs[:, :t], rtol=0, atol=1e-13)
        assert not torch.allclose(other[:, t:], outputs[:, t:])


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(training: bool) -> None:
    model, (source, lengths, inputs) = small().train(training), batch()
    outputs = model(source, lengths, inputs)
    torch.testing.assert_close(model(functional.pad(source, (0, 3), value=5), lengths, inputs), outputs)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(source[row : row + 1, :length], lengths[row : row + 1], inputs[row : row + 1])
        torch.testing.assert_close(alone[0], outputs[row])


def test_a_source_of_no_tokens_gives_numbers() -> None:
    source, _, inputs = batch()
    assert small()(source, torch.tensor([0, 3, 6]), inputs).isfinite().all()


@pytest.mark.parametrize("pieces", [(1,) * 7, (3, 1, 3)])
def test_step_by_step_equals_all_at_once(pieces: tuple[int, ...]) -> None:
    model, (source, lengths, inputs) = small(), batch()
    state, parts = model.begin(source, lengths), []
    for piece in inputs.split(list(pieces), 1):
        logits, after = model.step(piece, state)
        assert all(new is old for new, old in zip(after[::2], state[::2])), "mask and memory go on as they are"
        state = after
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), model(source, lengths, inputs), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_rows_of_a_state_can_be_picked() -> None:
    model, (source, lengths, inputs) = small(), batch()
    _, state = model.step(inputs[:, :3], model.begin(source, lengths))
    rows = torch.tensor([2, 0, 0, 1])
    picked = tuple(part.index_select(1, rows) for part in state)
    logits, _ = model.step(inputs[rows, 3:], picked)
    torch.testing.assert_close(logits, model(source, lengths, inputs)[rows, 3:])


@torch.no_grad()
def test_a_cache_changes_no_search() -> None:
    model, (source, lengths, _) = small(), batch()
    start = torch.full((3, 1), 2)
    for decoder in (greedy(max_tokens=9), beam(max_tokens=9, beam_size=4)):
        plain, cached = (decoder(Decoding(model, source, lengths, cache=cache), start, 3) for cache in (False, True))
        assert torch.equal(plain.tokens, cached.tokens)
        torch.testing.assert_close(plain.log_probs, cached.log_probs)


@torch.no_grad()
def test_the_memory_is_projected_once() -> None:
    model, (source, lengths, inputs) = small(), batch()
    calls: list[int] = []
    for block in model.decoder:
        for layer in (block.cross_attention.key, block.cross_attention.value):
            layer.register_forward_hook(lambda *_: calls.append(1))
    state = model.begin(source, lengths)
    assert len(calls) == 4
    for t in range(5):
        _, state = model.step(inputs[:, t : t + 1], state)
    assert len(calls) == 4


@torch.no_grad()
def test_attention_weights_are_those_of_the_last_block() -> None:
    """They are a distribution over the source; and with them, of one head, the block's own output comes out."""
    model, (source, lengths, inputs) = small(num_heads=1), batch()
    seen: list[Tensor] = []
    last = model.decoder[-1].cross_attention
    last.register_forward_hook(lambda layer, args, out: seen.extend((args[2], out)))
    model(source, lengths, inputs)
    weights = model.attention_weights(source, lengths, inputs)
    assert weights.shape == (3, 7, 6)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 7, dtype=torch.float64))
    assert all(weights[row, :, length:].eq(0).all() for row, length in enumerate(LENGTHS.tolist()))
    torch.testing.assert_close(last.out(weights @ seen[0][:, 0]), seen[1])


def trained(model: T5) -> tuple[Tensor, dict[str, Tensor], int]:
    """Loss, gradients, and how many values are kept for the backward pass, blocks that are recomputed left out."""
    source, lengths, inputs = batch()
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = functional.cross_entropy(model(source, lengths, inputs).flatten(0, 1), inputs.flatten())
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    return loss, gradients, sum(tensor.numel() for key, tensor in kept.items() if key not in own)


def test_checkpointing_changes_memory_and_nothing_else() -> None:
    """Bit for bit, with dropout everywhere."""
    options: dict[str, Any] = {"dropout": 0.3, "num_layers": 4, "hidden": 32}
    loss, gradients, kept = trained(small(**options).float().train())
    other, same, less = trained(small(**options, checkpointing=True).float().train())
    assert torch.equal(loss, other)
    assert gradients.keys() == same.keys() == dict(small(**options).named_parameters()).keys()
    assert all(torch.equal(gradient, same[name]) for name, gradient in gradients.items())
    assert less < kept / 4


def test_nothing_is_computed_again_in_an_evaluation() -> None:
    model, calls = small(checkpointing=True), []
    for block in (*model.encoder, *model.decoder):
        block.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(*batch())
    assert len(calls) == 4


def test_where_dropout_is() -> None:
    """On embeddings and the outputs of layers and of the last norms, hidden units, and attention weights."""
    model = small(dropout=0.25, num_layers=1).train()
    calls: list[str] = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Dropout):
            assert layer.p == 0.25
            layer.register_forward_hook(lambda *_, name=name: calls.append(name))
    model(*batch())
    block, hidden = "coder.0.dropout", "coder.0.feed_forward.dropout"
    assert calls == [
        "dropout", "en" + block, "en" + hidden, "en" + block, "dropout",
        "dropout", "de" + block, "de" + block, "de" + hidden, "de" + block, "dropout",
    ]  # fmt: skip
    assert model.encoder[0].attention.dropout == model.decoder[0].cross_attention.dropout == 0.25


def test_half_precision_under_autocast_is_near() -> None:
    model, (source, lengths, inputs) = small().float(), batch()
    expected = model(source, lengths, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        made = model(source, lengths, inputs)
    assert made.isfinite().all()
    torch.testing.assert_close(made.float(), expected, rtol=0.1, atol=0.1)


def test_the_summary_counts_every_product() -> None:
    """By hand for S = 5 source and T = 5 target tokens: projections, the two products of an attention, layers, head."""
    with torch.device("meta"):
        model = small(num_layers=1)
    lengths = torch.empty(1, dtype=torch.int64, device="meta")
    summary = summarize(model, (5,), input_dtype=torch.int64, further=(lengths, lengths.expand(1, 5)))
    attention, layers, head = 5 * 4 * 8 * 6 + 2 * 5 * 5 * 6, 5 * 2 * 8 * 12, 5 * 8 * 11
    assert summary.multiply_adds == 3 * attention + 2 * layers + head
    assert summary.parameters == count(model)


def test_it_learns_to_reverse() -> None:
    """Only relative positions tell it where a token stands."""
    torch.manual_seed(0)
    model = t5(vocab_size=12, dim=32, num_heads=2, head_dim=16, num_layers=1, hidden=64, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    lengths = torch.full((64,), 6)
    for _ in range(400):
        source = torch.randint(4, 12, (64, 6))
        target = source.flip(1)
        inputs = functional.pad(target[:, :-1], (1, 0), value=2)
        loss = functional.cross_entropy(model(source, lengths, inputs).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2, "a guess among 8 tokens has 2.1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"buckets": 5}, "even"),
        ({"buckets": 2}, "at least 4"),
        ({"buckets": 32, "max_distance": 16}, "more than half of the 32"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_layers": 0}, "num_layers"),
        ({"dropout": 1.5}, "between 0 and 1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        t5(**options)
