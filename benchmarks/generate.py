"""Tokens per second of decoding: d2l with a cache, without, and Hugging Face `generate`, of the same weights.

    pip install '.[slow]'
    python benchmarks/generate.py [--rounds 7] [--tokens 200] [--threads 1] [--device cpu] [--json FILE]

Two models of random weights, in one process, interleaved: GPT-like (6 blocks, 384 wide, 6 heads, context 256),
continued greedily from 16 tokens; and Marian-like (6 + 6 blocks, 512 wide, 8 heads), 32 source tokens translated with a
beam of 4.
Random weights end no sentence, so that all make the same number of tokens, and the tokens must be the same.

Figures are medians over rounds by the CPU clock (the wall clock on a GPU), and the ratio d2l / Hugging Face: above 1 is
faster.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, MarianConfig, MarianMTModel

from d2lcli.generation.beam import beam
from d2lcli.generation.continuation import next_logits
from d2lcli.generation.greedy import greedy
from d2lcli.generation.layout import lay_out
from d2lcli.generation.translation import Decoding
from d2lcli.models.gpt import transformer_lm
from d2lcli.models.transformer import transformer
from d2lcli.nn.positions import sinusoidal
from d2lcli.training.converters import convert

BOS, EOS = 2, 3
Method = Callable[[], Tensor]


def gpt_pair(vocab_size: int) -> tuple[nn.Module, nn.Module]:
    """Hugging Face's GPT-2 of that size, and ours with its weights."""
    config = GPT2Config(vocab_size=vocab_size, n_positions=256, n_embd=384, n_layer=6, n_head=6, initializer_range=0.08)
    config.activation_function = "gelu"
    theirs = GPT2LMHeadModel(config).eval()
    ours = transformer_lm(vocab_size=vocab_size, dim=384, num_heads=6, num_layers=6, hidden=1536, max_len=256).eval()
    ours.load_state_dict(convert(theirs.state_dict(), ours.state_dict()))
    return theirs, lay_out(ours)


def marian_pair(vocab_size: int) -> tuple[nn.Module, nn.Module]:
    """Hugging Face's Marian of that size, with positions as in the paper, and ours with its weights."""
    config = MarianConfig(
        vocab_size=vocab_size, d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
        decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, scale_embedding=True, init_std=0.08,
        activation_function="relu", max_position_embeddings=512, pad_token_id=1, eos_token_id=EOS,
        decoder_start_token_id=BOS, forced_eos_token_id=None,
    )  # fmt: skip
    theirs = MarianMTModel(config).eval()
    ours = transformer(
        vocab_size=vocab_size, source_vocab_size=vocab_size, dim=512, num_heads=8, num_layers=6, hidden=2048,
        norm_first=False, tied="all",
    ).eval()  # fmt: skip
    source = theirs.model.state_dict()
    shared = source["shared.weight"]
    for stack in (theirs.model.encoder, theirs.model.decoder):
        stack.embed_positions.weight.data.copy_(sinusoidal(0, 512, 512, shared))
    found = {"source.table.weight": shared, "target.table.weight": shared, "head.weight": shared}
    parts = {
        "add_attention.norm.": "self_attn_layer_norm.", "add_cross_attention.norm.": "encoder_attn_layer_norm.",
        "add_feed_forward.norm.": "final_layer_norm.", "feed_forward.linear1.": "fc1.", "feed_forward.linear2.": "fc2.",
        "attention.out_proj.": "self_attn.out_proj.", "cross_attention.out_proj.": "encoder_attn.out_proj.",
    }  # fmt: skip
    for stack in ("encoder", "decoder"):
        for i in range(6):
            here, there = f"{stack}.{i}.", f"{stack}.layers.{i}."
            for kind in ("weight", "bias"):
                for name, other in parts.items():
                    if there + other + kind in source:
                        found[here + name + kind] = source[there + other + kind]
                for name, other in (("attention", "self_attn"), ("cross_attention", "encoder_attn")):
                    if f"{there}{other}.q_proj.{kind}" in source:
                        rows = [source[f"{there}{other}.{part}_proj.{kind}"] for part in "qkv"]
                        found[f"{here}{name}.in_proj_{kind}"] = torch.cat(rows)
    ours.load_state_dict(found)
    return theirs, lay_out(ours)


def gpt_methods(tokens: int, vocab_size: int, device: str) -> dict[str, Method]:
    theirs, ours = (model.to(device) for model in gpt_pair(vocab_size))
    prompt = torch.randint(4, vocab_size, (1, 16), device=device)
    torch.testing.assert_close(ours(prompt), theirs(prompt).logits, rtol=1e-3, atol=1e-3)
    decode = greedy(max_tokens=tokens)

    def hugging_face(cache: bool) -> Tensor:
        options = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
        return theirs.generate(prompt, attention_mask=torch.ones_like(prompt), use_cache=cache, **options)

    return {
        "d2l": lambda: decode(next_logits(ours), prompt).tokens,
        "hugging face": lambda: hugging_face(True),
        "d2l, no cache": lambda: decode(next_logits(ours, cache=False), prompt).tokens,
        "hugging face, no cache": lambda: hugging_face(False),
    }


def marian_methods(tokens: int, vocab_size: int, device: str) -> dict[str, Method]:
    theirs, ours = (model.to(device) for model in marian_pair(vocab_size))
    source = torch.randint(4, vocab_size, (1, 32), device=device)
    lengths, start = torch.tensor([32]), torch.full((1, 1), BOS, device=device)
    logits = theirs(source, attention_mask=torch.ones_like(source), decoder_input_ids=start).logits
    torch.testing.assert_close(ours(source, lengths, start), logits, rtol=1e-3, atol=1e-3)
    decode = beam(max_tokens=tokens, beam_size=4, alpha=1.0)

    def hugging_face(cache: bool) -> Tensor:
        return theirs.generate(
            source, attention_mask=torch.ones_like(source), num_beams=4, max_new_tokens=tokens, use_cache=cache,
            length_penalty=1.0, early_stopping=False, do_sample=False,
        )  # fmt: skip

    @torch.no_grad()
    def d2l(cache: bool) -> Tensor:
        return decode(Decoding(ours, source, lengths, cache=cache), start, EOS).tokens

    return {
        "d2l": lambda: d2l(True),
        "hugging face": lambda: hugging_face(True),
        "d2l, no cache": lambda: d2l(False),
        "hugging face, no cache": lambda: hugging_face(False),
    }


def measure(methods: dict[str, Method], rounds: int, clock: Callable[[], float]) -> tuple[dict[str, float], bool]:
    """Median seconds of each, and whether all made the same tokens."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    made = [method()[0].tolist() for method in methods.values()]  # a first time that does not count
    for _ in range(rounds):
        for name, method in methods.items():
            begun = clock()
            method()
            seconds[name].append(clock() - begun)
    return {name: median(each) for name, each in seconds.items()}, all(each == made[0] for each in made)


def synchronised() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=200, help="new tokens; a beam makes half of it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    clock = time.process_time if chosen.device == "cpu" and chosen.threads == 1 else time.perf_counter
    if chosen.device != "cpu":
        clock = synchronised
    results = {}
    for title, made, methods in (
        ("GPT-like, greedy", chosen.tokens, gpt_methods(chosen.tokens, 65, chosen.device)),
        ("Marian-like, beam 4", chosen.tokens // 2, marian_methods(chosen.tokens // 2, 8000, chosen.device)),
    ):
        seconds, same = measure(methods, chosen.rounds, clock)
        print(f"{title}: {made} tokens, {'the same' if same else 'NOT the same'} in all")
        for name, each in seconds.items():
            print(f"  {name:24} {made / each:8.0f} tokens/s   {seconds['hugging face'] / each:5.2f} x hugging face")
        results[title] = {"same": same, "tokens_per_second": {name: made / each for name, each in seconds.items()}}
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
