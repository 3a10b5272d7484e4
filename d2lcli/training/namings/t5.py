"""T5 under the names of transformers, T5ForConditionalGeneration's.

Its table of embeddings may come under four names, or under the first one alone.  Of a table of relative positions for
the attention to the memory, which old files hold, the models make no use, and we have no place for it.
"""

from d2lcli.training.namings import Naming, Rules

_SELF = "block.{i}.layer.0.SelfAttention."
_CROSS = "decoder.block.{i}.layer.1.EncDecAttention."
_HF_T5: Rules = (
    ("shared.", "embedding."),
    ("encoder.embed_tokens.", "embedding."),
    ("decoder.embed_tokens.", "embedding."),
    ("lm_head.", "head."),
    ("encoder.final_layer_norm.", "encoder_norm."),
    ("encoder." + _SELF + "relative_attention_bias.", "encoder_positions.table."),
    ("encoder." + _SELF + "q.", "encoder.{i}.attention.query."),
    ("encoder." + _SELF + "k.", "encoder.{i}.attention.key."),
    ("encoder." + _SELF + "v.", "encoder.{i}.attention.value."),
    ("encoder." + _SELF + "o.", "encoder.{i}.attention.out."),
    ("encoder.block.{i}.layer.0.layer_norm.", "encoder.{i}.attention_norm."),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi.", "encoder.{i}.feed_forward.linear1."),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi_0.", "encoder.{i}.feed_forward.gate."),
    ("encoder.block.{i}.layer.1.DenseReluDense.wi_1.", "encoder.{i}.feed_forward.linear1."),
    ("encoder.block.{i}.layer.1.DenseReluDense.wo.", "encoder.{i}.feed_forward.linear2."),
    ("encoder.block.{i}.layer.1.layer_norm.", "encoder.{i}.feed_forward_norm."),
    ("decoder.final_layer_norm.", "decoder_norm."),
    ("decoder." + _SELF + "relative_attention_bias.", "decoder_positions.table."),
    ("decoder." + _SELF + "q.", "decoder.{i}.attention.query."),
    ("decoder." + _SELF + "k.", "decoder.{i}.attention.key."),
    ("decoder." + _SELF + "v.", "decoder.{i}.attention.value."),
    ("decoder." + _SELF + "o.", "decoder.{i}.attention.out."),
    ("decoder.block.{i}.layer.0.layer_norm.", "decoder.{i}.attention_norm."),
    (_CROSS + "q.", "decoder.{i}.cross_attention.query."),
    (_CROSS + "k.", "decoder.{i}.cross_attention.key."),
    (_CROSS + "v.", "decoder.{i}.cross_attention.value."),
    (_CROSS + "o.", "decoder.{i}.cross_attention.out."),
    ("decoder.block.{i}.layer.1.layer_norm.", "decoder.{i}.cross_attention_norm."),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi.", "decoder.{i}.feed_forward.linear1."),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi_0.", "decoder.{i}.feed_forward.gate."),
    ("decoder.block.{i}.layer.2.DenseReluDense.wi_1.", "decoder.{i}.feed_forward.linear1."),
    ("decoder.block.{i}.layer.2.DenseReluDense.wo.", "decoder.{i}.feed_forward.linear2."),
    ("decoder.block.{i}.layer.2.layer_norm.", "decoder.{i}.feed_forward_norm."),
)

NAMINGS: dict[str, Naming] = {"transformers t5": ("", _HF_T5)}
