"""The rates of what networks consist of, by kind, size and type: what `predict` interpolates between.

Operations are called as autograd calls them, without gradients, so that a figure holds a kernel and nothing else.  What
is large has left the near caches before each call, as it has in a network by the time that it is needed again.
"""

import functools
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from d2lcli.hardware.bench import GIGA, Bench, Row
from d2lcli.hardware.machine import cache_sizes
from d2lcli.hardware.measure import Spread

aten = torch.ops.aten
TOPIC = "layers"
# m x k times k x n: rows, numbers that are summed over, columns.
PRODUCTS = tuple(itertools.product((16, 128, 1024), (16, 128, 1024), (16, 128, 1024)))
BATCHES_OF_PRODUCTS = tuple((64, *sizes) for sizes in itertools.product((16, 128), (32, 128), (16, 128)))
# Channels in and out, sides of kernel and image, stride, images: from a first layer to a last one.
CONVOLUTIONS = (
    (1, 8, 3, 28, 1, 32), (1, 8, 5, 28, 1, 64), (1, 64, 3, 28, 1, 32), (1, 64, 5, 28, 2, 64), (3, 12, 5, 28, 1, 32),
    (3, 64, 3, 28, 1, 32), (3, 64, 7, 28, 2, 32), (4, 12, 5, 14, 1, 64), (8, 8, 3, 14, 1, 64), (8, 16, 5, 14, 1, 64),
    (12, 12, 3, 14, 1, 64), (16, 16, 3, 28, 1, 32), (32, 32, 3, 14, 1, 32), (64, 64, 3, 28, 1, 8),
    (64, 64, 3, 7, 1, 64), (64, 64, 3, 2, 1, 64), (64, 64, 1, 14, 1, 32), (64, 128, 1, 8, 2, 64),
    (64, 128, 3, 8, 2, 64), (192, 96, 1, 14, 1, 16), (96, 192, 3, 14, 1, 8), (128, 256, 3, 4, 1, 32),
    (128, 256, 3, 4, 2, 64), (256, 256, 3, 14, 1, 4), (256, 256, 3, 2, 1, 64), (256, 256, 1, 7, 1, 32),
    (256, 512, 1, 2, 2, 64), (256, 512, 3, 2, 2, 64), (512, 512, 3, 7, 1, 4), (512, 512, 3, 2, 1, 16),
    (512, 512, 3, 1, 1, 64), (512, 2048, 1, 2, 1, 32),
)  # fmt: skip
SHOWN = {(1, 8, 5, 28), (64, 64, 3, 28), (512, 512, 3, 2)}
NUMBERS = (1 << 12, 1 << 17, 1 << 22)
SHOWN_NUMBERS = 1 << 17
ATTENTION = ((32, 32), (128, 32), (128, 64), (512, 64))  # tokens, width of a head
WIDTH = 128  # of rows that are normalised
SHARE = 0.1  # of the seconds of other rows
MOST = 25  # samples
EMPTIED = 8  # times the second cache
LARGE = 1 << 18  # bytes: what is smaller stays near


def rows(bench: Bench) -> Iterator[Row | str]:
    """All figures of this topic, in float32 and, where the hardware multiplies it, bfloat16."""
    for dtype in ("fp32", "bf16") if _has_bf16(bench) else ("fp32",):
        with torch.no_grad():
            yield from _products(bench, dtype)
            yield from _convolutions(bench, dtype)
            yield from _attention(bench, dtype)
            yield from _elementwise(bench, dtype)


def _time(bench: Bench, function: Callable[[], object], size: int) -> Spread:
    """Seconds of a call that reads or writes so many bytes; there are hundreds of these rows, so each is short."""
    before = _emptier(bench.device) if size >= LARGE else None
    return bench.time(function, before, seconds=bench.seconds * SHARE, most=MOST)


@functools.cache
def _emptier(device: torch.device) -> Callable[[], object]:
    """Fills the caches near a core (of a GPU, the one of all processors) with something else, several times over."""
    size = EMPTIED * cache_sizes().get(2, 1 << 20)
    if device.type == "cuda":
        size = 2 * torch.cuda.get_device_properties(device).L2_cache_size
    return torch.empty(size, dtype=torch.int8, device=device).zero_


def _has_bf16(bench: Bench) -> bool:
    if bench.on_gpu:
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _products(bench: Bench, dtype: str) -> Iterator[Row]:
    for m, k, n in PRODUCTS:
        a, b = bench.random(m, k, dtype=dtype), bench.random(k, n, dtype=dtype)
        figure = _time(bench, functools.partial(torch.mm, a, b), a.nbytes + b.nbytes).rate(2 * m * k * n / GIGA)
        facts: dict[str, float | str] = {"kind": "mm", "batch": 1, "m": m, "k": k, "n": n}
        yield bench.row(TOPIC, "product", figure, "GFLOP/s", dtype=dtype, sizes=f"{m} x {k} x {n}", facts=facts,
                        detail=(m, k, n) != (1024, 1024, 1024))  # fmt: skip
    for count, m, k, n in BATCHES_OF_PRODUCTS:
        a, b = bench.random(count, m, k, dtype=dtype), bench.random(count, k, n, dtype=dtype)
        times = _time(bench, functools.partial(torch.bmm, a, b), a.nbytes + b.nbytes)
        figure = times.rate(2 * count * m * k * n / GIGA)
        facts = {"kind": "bmm", "batch": count, "m": m, "k": k, "n": n}
        yield bench.row(TOPIC, "products", figure, "GFLOP/s", dtype=dtype, sizes=f"{count} of {m} x {k} x {n}",
                        facts=facts, detail=(m, k, n) != (128, 128, 128))  # fmt: skip


def _convolutions(bench: Bench, dtype: str) -> Iterator[Row]:
    for c, d, kernel, side, stride, images in CONVOLUTIONS:
        x, w = bench.random(images, c, side, side, dtype=dtype), bench.random(d, c, kernel, kernel, dtype=dtype)
        how = ([stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], 1)
        y = aten.convolution(x, w, None, *how)
        mask = [c > 1, True, False]  # an image that is the network's input needs no gradient
        ways: dict[str, Callable[[], object]] = {
            "conv": functools.partial(aten.convolution, x, w, None, *how),
            "conv_backward": functools.partial(aten.convolution_backward, y, x, w, None, *how, mask),
        }
        sizes = f"{images} images, {c} -> {d} channels, {kernel} x {kernel}, {side} x {side}, stride {stride}"
        for kind, function in ways.items():
            factor = 2 if kind == "conv_backward" and c > 1 else 1
            work = 2 * y.numel() * c * kernel**2 / GIGA
            facts: dict[str, float | str] = {
                "kind": kind, "c": c, "d": d, "kernel": kernel**2, "places": images * y.shape[2] ** 2,
                "side": y.shape[2], "stride": stride,
            }  # fmt: skip
            figure = _time(bench, function, x.nbytes + y.nbytes + w.nbytes).rate(work * factor)
            what = "convolution" if kind == "conv" else "convolution, backward"
            yield bench.row(TOPIC, what, figure, "GFLOP/s", dtype=dtype, sizes=sizes, facts=facts,
                            detail=(c, d, kernel, side) not in SHOWN)  # fmt: skip


def _attention(bench: Bench, dtype: str) -> Iterator[Row]:
    """Causal, of 8 x 4 heads; its two products of n^2 d multiply-adds each."""
    for n, width in ATTENTION:
        q, k, v = (bench.random(8, 4, n, width, dtype=dtype) for _ in range(3))

        def forward(q: Tensor = q, k: Tensor = k, v: Tensor = v) -> Tensor:
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

        figure = _time(bench, forward, 3 * q.nbytes).rate(4 * 32 * n * n * width / GIGA)
        facts: dict[str, float | str] = {"kind": "attention", "n": n, "width": width}
        sizes = f"32 heads of {n} x {width}"
        yield bench.row(TOPIC, "attention", figure, "GFLOP/s", dtype=dtype, sizes=sizes, facts=facts,
                        detail=n != 128)  # fmt: skip


def elementwise(x: Tensor) -> dict[tuple[str, int], Callable[[], object]]:
    """Operations on single numbers, rows or neighbourhoods, under the names that a trace gives them.

    Args:
        x: (rows, WIDTH).

    Returns:
        By name and by how many numbers belong together: 1, those of a row, of a window, or of a channel of one image.
    """
    image = x.view(-1, 16, 16, 16)
    gain = torch.ones(WIDTH, device=x.device)
    mean, deviation = torch.zeros(len(x), 1, device=x.device), torch.ones(len(x), 1, device=x.device)
    tokens = torch.randint(0, min(WIDTH, len(x)), (len(x),), device=x.device)
    table = x[:WIDTH]
    positive = x.abs()
    functions: dict[tuple[str, int], Callable[[], object]] = {
        ("add", 1): lambda: torch.add(x, x),
        ("add_", 1): lambda: positive.add_(x),
        ("relu", 1): lambda: torch.relu(x),
        ("sigmoid", 1): lambda: torch.sigmoid(x),
        ("tanh", 1): lambda: torch.tanh(x),
        ("gelu", 1): lambda: aten.gelu(x, approximate="tanh"),
        ("gelu_backward", 1): lambda: aten.gelu_backward(x, x, approximate="tanh"),
        ("exp", 1): lambda: torch.exp(x),
        ("clone", 1): lambda: x.view(-1, 8, WIDTH // 8).transpose(0, 1).contiguous(),  # as heads are split and merged
        ("_to_copy", 1): lambda: x.to(torch.bfloat16 if x.dtype == torch.float32 else torch.float32),
        ("sum", 1): lambda: x.sum(0),
        ("bernoulli_", 1): lambda: positive.bernoulli_(0.9),
        ("_softmax", WIDTH): lambda: aten._softmax(x, -1, False),
        ("_safe_softmax", WIDTH): lambda: aten._safe_softmax(x, -1),
        ("_safe_softmax", 16): lambda: aten._safe_softmax(x.view(-1, 16), -1),
        ("_softmax_backward_data", WIDTH): lambda: aten._softmax_backward_data(x, x, -1, x.dtype),
        ("native_layer_norm", WIDTH): lambda: aten.native_layer_norm(x, [WIDTH], gain, gain, 1e-5),
        ("native_layer_norm_backward", WIDTH): lambda: aten.native_layer_norm_backward(
            x, x, [WIDTH], mean, deviation, gain, gain, [True, True, True]
        ),
        ("embedding", 1): lambda: aten.embedding(table, tokens),
        ("embedding_dense_backward", 1): lambda: aten.embedding_dense_backward(x, tokens, len(table), -1, False),
        ("_fused_adamw_", 1): functools.partial(_fused_step, [x, *(positive.clone() for _ in range(3))]),
    }
    for side in (1, 2, 16):
        functions |= _norms(image.reshape(-1, 16 * 256 // side**2 if side < 16 else 16, side, side), side)
    return functions | _pools(image, 2, 2) | _pools(image, 3, 1)


def _norms(x: Tensor, side: int) -> dict[tuple[str, int], Callable[[], object]]:
    """Batch norm of images (b, c, side, side)."""
    channels = torch.ones(x.shape[1], device=x.device)
    return {
        ("native_batch_norm", side**2): lambda: aten.native_batch_norm(
            x, channels, channels, None, None, True, 0.1, 1e-5
        ),
        ("native_batch_norm_backward", side**2): lambda: aten.native_batch_norm_backward(
            x, x, channels, None, None, channels, channels, True, 1e-5, [True, True, True]
        ),
    }


def _pools(x: Tensor, window: int, stride: int) -> dict[tuple[str, int], Callable[[], object]]:
    """Pooling of images (b, c, h, w), each output from window x window numbers."""
    shape = ([window, window], [stride, stride], [window // 2 if stride == 1 else 0] * 2)
    pooled, places = aten.max_pool2d_with_indices(x, *shape)
    return {
        ("max_pool2d_with_indices", window**2): lambda: aten.max_pool2d_with_indices(x, *shape),
        ("max_pool2d_with_indices_backward", window**2): lambda: aten.max_pool2d_with_indices_backward(
            pooled, x, *shape, [1, 1], False, places
        ),
        ("avg_pool2d", window**2): lambda: aten.avg_pool2d(x, *shape),
        ("avg_pool2d_backward", window**2): lambda: aten.avg_pool2d_backward(pooled, x, *shape, False, True, None),
    }


def _fused_step(tensors: list[Tensor]) -> None:
    """One update of AdamW of weights, given with their gradient and two means; the rate is 0, so that they stay."""
    weight, gradient, mean, square = tensors
    step = torch.ones((), device=weight.device)
    torch._fused_adamw_(
        [weight], [gradient], [mean], [square], [], [step], lr=0.0, beta1=0.9, beta2=0.999, weight_decay=0.0,
        eps=1e-8, amsgrad=False, maximize=False,
    )  # fmt: skip


def _elementwise(bench: Bench, dtype: str) -> Iterator[Row]:
    for numbers in NUMBERS:
        x = bench.random(numbers // WIDTH, WIDTH, dtype=dtype)
        for (name, together), function in elementwise(x).items():
            if bench.refused(function):
                continue  # no row, and `predict` takes the nearest kind
            figure = _time(bench, function, 2 * x.nbytes).rate(numbers / GIGA)
            facts: dict[str, float | str] = {
                "kind": "numbers", "operation": name, "numbers": numbers, "together": together
            }  # fmt: skip
            yield bench.row(
                TOPIC, name, figure, "G numbers/s", dtype=dtype, sizes=f"{numbers:,} numbers, {together} together",
                facts=facts, detail=numbers != SHOWN_NUMBERS or dtype != "fp32" or together in (2, 4, 9),
            )  # fmt: skip
