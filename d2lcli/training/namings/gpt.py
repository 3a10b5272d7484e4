"""GPTs under the names of transformers, GPT2LMHeadModel's and OpenAIGPTLMHeadModel's.

Both call a block's tensors alike, though the norms of the first GPT stand behind the layers, as ours do there.  Their
projections are stored as (in, out).  Masks that old files hold have no place in our models.
"""

from d2lcli.training.namings import Naming, Rules

_BLOCK = "blocks.{i}."
_HF_GPT: Rules = (
    ("wte.", "embedding."),
    ("tokens_embed.", "embedding."),
    ("wpe.weight", "positions.weight#B"),
    ("positions_embed.weight", "positions.weight#B"),
    ("h.{i}.ln_1.", _BLOCK + "add_attention.norm."),
    ("h.{i}.attn.c_attn.weight", _BLOCK + "attention.in_proj_weight#T"),
    ("h.{i}.attn.c_attn.bias", _BLOCK + "attention.in_proj_bias"),
    ("h.{i}.attn.c_proj.weight", _BLOCK + "attention.out_proj.weight#T"),
    ("h.{i}.attn.c_proj.bias", _BLOCK + "attention.out_proj.bias"),
    ("h.{i}.ln_2.", _BLOCK + "add_feed_forward.norm."),
    ("h.{i}.mlp.c_fc.weight", _BLOCK + "feed_forward.linear1.weight#T"),
    ("h.{i}.mlp.c_fc.bias", _BLOCK + "feed_forward.linear1.bias"),
    ("h.{i}.mlp.c_proj.weight", _BLOCK + "feed_forward.linear2.weight#T"),
    ("h.{i}.mlp.c_proj.bias", _BLOCK + "feed_forward.linear2.bias"),
    ("ln_f.", "norm."),
    ("lm_head.", "head."),
)

NAMINGS: dict[str, Naming] = {"transformers gpt": ("transformer.", _HF_GPT)}
