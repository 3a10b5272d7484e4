"""Beam search (d2l 10.8; Wu et al., 2016).

Legend: n prompts, k hypotheses of each, t tokens so far, V tokens of the vocabulary.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from d2lcli.errors import NonFiniteError
from d2lcli.generation.decoding import Decoder, Generated, NextLogits, check_logits, check_max_tokens, check_prompt


def beam(
    max_tokens: int = 100,
    beam_size: int = 4,
    alpha: float = 0.75,
    candidates: Literal["finished", "prefix"] = "finished",
) -> Decoder:
    """The hypothesis y of the largest sum of log P(y_t | y_1..y_(t-1), prompt) / L^alpha, among those that are met.

    At every step the k best unfinished hypotheses go on.  L counts new tokens, the end token too; without the division
    the shortest hypotheses would win, since every further token lowers the sum.  The search ends when no unfinished
    hypothesis can overtake the best finished one.  One that has max_tokens tokens counts as finished.

    Args:
        max_tokens: the most new tokens.
        beam_size: k.
        alpha: at least 0; 0 is the plain sum.
        candidates: finished, or prefix, which lets unfinished hypotheses of every length compete, as the book's text
            has it; with alpha below 1 the very short ones then tend to win.

    Raises:
        ValueError: a value out of range.
    """
    check_max_tokens(max_tokens)
    if beam_size < 1:
        raise ValueError(f"beam_size={beam_size!r} must be at least 1")
    if not 0 <= alpha < float("inf"):
        raise ValueError(f"alpha={alpha!r} must be a number, finite and at least 0")

    @torch.inference_mode()
    def decode(next_logits: NextLogits, prompt: Tensor, eos: int | None = None, watch: Any = None) -> Generated:
        search = _Search(check_prompt(prompt), beam_size, alpha, max_tokens)
        for step in range(1, max_tokens + 1):
            logits = check_logits(next_logits(search.tokens), len(search.tokens), eos)
            rows = search.advance(logits.double().log_softmax(dim=1), eos, step, candidates == "prefix")
            if step == max_tokens or search.settled():
                break
            if hasattr(next_logits, "reorder"):
                next_logits.reorder(rows)
        return search.found(eos)

    return decode


class _Search:
    """The live hypotheses (n k, t), and the best finished one of each prompt."""

    def __init__(self, prompt: Tensor, k: int, alpha: float, max_tokens: int) -> None:
        n, device = len(prompt), prompt.device
        self.prompt, self.k, self.alpha, self.max_tokens = prompt, k, alpha, max_tokens
        self.tokens = prompt.repeat_interleave(k, 0)
        self.scores = torch.full((n, k), -torch.inf, dtype=torch.float64, device=device)
        self.scores[:, 0] = 0.0  # at first all hypotheses of a prompt are one
        self.log_probs = torch.zeros(n * k, 0, dtype=torch.float64, device=device)
        self.best = torch.full((n,), -torch.inf, dtype=torch.float64, device=device)
        self.best_tokens = torch.zeros(n, max_tokens, dtype=torch.long, device=device)
        self.best_log_probs = torch.zeros(n, max_tokens, dtype=torch.float64, device=device)
        self.best_lengths = torch.zeros(n, dtype=torch.long, device=device)

    def advance(self, log_probs: Tensor, eos: int | None, step: int, prefixes: bool) -> Tensor:
        """Take a step with the log-probabilities (n k, V) of the next token.

        Returns:
            (n k,) the rows from which the hypotheses that live on came.
        """
        n, k, size = len(self.prompt), self.k, log_probs.shape[1]
        total = (self.scores[:, :, None] + log_probs.view(n, k, size)).flatten(1)  # (n, k V)
        values, places = total.topk(min(2 * k, k * size), dim=1)  # at most k of them end
        if bool(values.isnan().any()):  # topk takes NaN for the largest
            raise NonFiniteError("the model gave logits from which no token can be chosen (NaN, or infinite)")
        rows = places // size + k * torch.arange(n, device=places.device)[:, None]
        ids = places % size
        ended = ids == eos if eos is not None else torch.zeros_like(ids, dtype=torch.bool)
        over = torch.ones_like(ended) if prefixes or step == self.max_tokens else ended
        self._finish(values.masked_fill(~over, -torch.inf), rows, ids, log_probs, step)
        values, kept = _padded(values.masked_fill(ended, -torch.inf), k).topk(k, dim=1)
        kept = kept.clamp(max=ids.shape[1] - 1)
        chosen, rows = ids.gather(1, kept).flatten(), rows.gather(1, kept).flatten()
        self.scores = values
        new = log_probs[rows, chosen][:, None]
        self.log_probs = torch.cat([self.log_probs[rows], new], 1)
        self.tokens = torch.cat([self.tokens[rows], chosen[:, None]], 1)
        return rows

    def _finish(self, values: Tensor, rows: Tensor, ids: Tensor, log_probs: Tensor, step: int) -> None:
        """Compare the finished candidates (n, c) with the best known ones."""
        score, place = (values / step**self.alpha).max(dim=1)
        better = (score > self.best).nonzero()[:, 0]
        if not len(better):
            return
        row = rows.gather(1, place[:, None])[better, 0]
        last = ids.gather(1, place[:, None])[better, 0]
        self.best[better] = score[better]
        self.best_lengths[better] = step
        before = self.tokens[row, self.prompt.shape[1] :]
        self.best_tokens[better, :step] = torch.cat([before, last[:, None]], 1)
        self.best_log_probs[better, :step] = torch.cat([self.log_probs[row], log_probs[row, last][:, None]], 1)

    def settled(self) -> bool:
        """Whether no live hypothesis can overtake: its sum only falls, and at best is divided by the largest length."""
        return bool((self.best >= self.scores[:, 0] / self.max_tokens**self.alpha).all())

    def found(self, eos: int | None) -> Generated:
        if not bool(self.best.isfinite().all()):
            raise NonFiniteError("every continuation has probability 0")
        length = int(self.best_lengths.max())
        late = torch.arange(length, device=self.best.device) >= self.best_lengths[:, None]
        tokens = self.best_tokens[:, :length].masked_fill(late, 0 if eos is None else eos)
        log_probs = self.best_log_probs[:, :length].masked_fill(late, 0.0)
        return Generated(torch.cat([self.prompt, tokens], 1), self.best_lengths, log_probs)


def _padded(values: Tensor, k: int) -> Tensor:
    """At least k columns: where the vocabulary is smaller than the beam, hypotheses of probability 0."""
    missing = k - values.shape[1]
    return torch.nn.functional.pad(values, (0, missing), value=-torch.inf) if missing > 0 else values
