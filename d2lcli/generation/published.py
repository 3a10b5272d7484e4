"""Published weights in a folder as Hugging Face lays it out: config.json, model.safetensors and the vocabulary."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from d2lcli.data.tokenizers.published import read_vocabulary
from d2lcli.errors import CheckpointError, ConfigError, clean
from d2lcli.generation.layout import lay_out
from d2lcli.generation.text import TextModel
from d2lcli.generation.text_to_text import TextToText
from d2lcli.registry import MODELS
from d2lcli.training.origin import PUBLISHED
from d2lcli.training.transfer import load, shorten
from d2lcli.training.weights import read_weights

EPS = 1e-6  # what T5's norms add
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}


@dataclass(frozen=True)
class Published:
    """What a folder holds.

    Attributes:
        folder: where it is.
        task: that the model is for.
        model: the builder's name.
        options: of the builder.
        ends: ids of the tokens that an answer begins and ends with, where a model answers.
    """

    folder: Path
    task: str
    model: str
    options: dict[str, Any]
    ends: tuple[int, int] = (0, 0)


def find_published(folder: Path) -> Published:
    """What model a folder holds, by its config.json.

    Raises:
        CheckpointError: no such folder, a file is missing or damaged, or the model is none that d2l knows.
    """
    where = f"weights {clean(folder)}"
    for name in ("config.json", PUBLISHED):
        if not (folder / name).is_file():
            raise CheckpointError(f"{where}: there is no {name} in it", "name a folder as published on Hugging Face")
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        kind = config["model_type"]
        known = {
            "gpt2": ("language_model", "transformer_lm", _gpt2),
            "bert": ("masked_language_model", "bert", _bert),
            "t5": ("text_to_text", "t5", _t5),
        }
        if kind not in known:
            raise CheckpointError(f"{where}: unknown model_type '{clean(kind, 40)}' (known: {', '.join(known)})")
        task, model, options = known[kind]
        return Published(folder, task, model, options(config), _ends(config) if kind == "t5" else (0, 0))
    except (ValueError, TypeError, AttributeError, KeyError, OSError, RecursionError) as error:
        raise CheckpointError(f"{where}: config.json does not describe a model: {clean(error, 120)}") from None


def _gpt2(config: dict[str, Any]) -> dict[str, Any]:
    dim = config["n_embd"]
    return {
        "vocab_size": config["vocab_size"], "dim": dim, "num_heads": config["n_head"], "num_layers": config["n_layer"],
        "hidden": config.get("n_inner") or 4 * dim, "max_len": config["n_positions"], "dropout": 0.0,
        "activation": ACTIVATIONS[config.get("activation_function", "gelu_new")],
    }  # fmt: skip


def _bert(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "vocab_size": config["vocab_size"], "dim": config["hidden_size"], "num_heads": config["num_attention_heads"],
        "num_layers": config["num_hidden_layers"], "hidden": config["intermediate_size"],
        "max_len": config["max_position_embeddings"], "activation": ACTIVATIONS[config.get("hidden_act", "gelu")],
        "eps": config.get("layer_norm_eps", 1e-12), "dropout": 0.0,
    }  # fmt: skip


def _t5(config: dict[str, Any]) -> dict[str, Any]:
    """Version 1.1 is told by its head: it is no table of embeddings, and what goes into it is not divided."""
    kind, eps = config.get("feed_forward_proj", "relu"), config.get("layer_norm_epsilon", 1e-6)
    if eps != EPS:
        raise ValueError(f"layer_norm_epsilon is {eps}, but d2l only knows {EPS}")
    tied = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
    return {
        "vocab_size": config["vocab_size"], "dim": config["d_model"], "num_heads": config["num_heads"],
        "head_dim": config["d_kv"], "hidden": config["d_ff"], "num_layers": config["num_layers"],
        "decoder_layers": config.get("num_decoder_layers"), "dropout": 0.0, "tied": tied is not False,
        "buckets": config.get("relative_attention_num_buckets", 32),
        "max_distance": config.get("relative_attention_max_distance", 128), "gated": kind.startswith("gated-"),
        "activation": "gelu_tanh" if kind == "gated-gelu" else ACTIVATIONS[kind.removeprefix("gated-")],
    }  # fmt: skip


def _ends(config: dict[str, Any]) -> tuple[int, int]:
    end = config.get("eos_token_id", 1)
    start = config.get("decoder_start_token_id", config.get("pad_token_id", 0))
    if not isinstance(start, int) or not isinstance(end, int):
        raise ValueError(f"an answer begins with {start} and ends with {end}, which are not two numbers")
    return start, end


def open_published(found: Published) -> TextModel | TextToText:
    """The model with its weights and vocabulary.

    Raises:
        CheckpointError: weights are damaged, missing, or of another model.
        DataError: the vocabulary is missing or damaged.
    """
    tokenizer = read_vocabulary(found.folder)
    try:
        model: nn.Module = MODELS.build(found.model, **found.options)
    except (ConfigError, ValueError) as error:
        raise CheckpointError(
            f"weights {clean(found.folder)}: config.json does not describe a model: {clean(error, 200)}"
        ) from None
    weights = read_weights(found.folder / PUBLISHED)
    if not found.options.get("tied", True) and "shared.weight" in weights.tensors:
        weights.tensors.setdefault("lm_head.weight", weights.tensors["shared.weight"])
    report = load(model, weights, new_head=False)
    lacking = [*report.missing, *report.skipped, *report.new_head]
    if lacking := [name for name in lacking if not name.startswith(("pooler.", "next_sentence."))]:
        raise CheckpointError(
            f"weights {clean(found.folder)}: they have no {shorten(lacking)}, without which the model says nothing"
        )
    if len(tokenizer) > found.options["vocab_size"]:
        raise CheckpointError(
            f"weights {clean(found.folder)}: {len(tokenizer)} tokens in the vocabulary, but the model has "
            f"{found.options['vocab_size']}"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if found.task == "text_to_text":
        if not all(0 <= number < len(tokenizer) for number in found.ends):
            raise CheckpointError(f"weights {clean(found.folder)}: the vocabulary has no tokens {found.ends}")
        _keep_known(model, len(tokenizer))
        model = lay_out(model.to(device).eval())
        return TextToText(model, tokenizer, device, found.folder, *found.ends)
    return TextModel(lay_out(model.to(device).eval()), tokenizer, device, found.folder, False)


def _keep_known(model: Any, size: int) -> None:
    """Leave out of the head what fills it up to a round number and stands for no token."""
    head = nn.Linear(model.head.in_features, size, bias=False, device="meta")
    head.weight = nn.Parameter(model.head.weight.detach()[:size])
    model.head = head
