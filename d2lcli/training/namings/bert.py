"""BERTs under the names of transformers; its first files call the tensors of a norm gamma and beta."""

from d2lcli.training.namings import Naming, Rules

_BLOCK = "blocks.{i}."
_HF_BERT: Rules = (
    ("embeddings.word_embeddings.", "embedding.tokens."),
    ("embeddings.token_type_embeddings.", "embedding.segments."),
    ("embeddings.position_embeddings.weight", "embedding.positions.weight#B"),
    ("embeddings.LayerNorm.gamma", "embedding.norm.weight"),
    ("embeddings.LayerNorm.beta", "embedding.norm.bias"),
    ("embeddings.LayerNorm.", "embedding.norm."),
    ("encoder.layer.{i}.attention.self.query.weight", _BLOCK + "attention.in_proj_weight#0"),
    ("encoder.layer.{i}.attention.self.key.weight", _BLOCK + "attention.in_proj_weight#1"),
    ("encoder.layer.{i}.attention.self.value.weight", _BLOCK + "attention.in_proj_weight#2"),
    ("encoder.layer.{i}.attention.self.query.bias", _BLOCK + "attention.in_proj_bias#0"),
    ("encoder.layer.{i}.attention.self.key.bias", _BLOCK + "attention.in_proj_bias#1"),
    ("encoder.layer.{i}.attention.self.value.bias", _BLOCK + "attention.in_proj_bias#2"),
    ("encoder.layer.{i}.attention.output.dense.", _BLOCK + "attention.out_proj."),
    ("encoder.layer.{i}.attention.output.LayerNorm.gamma", _BLOCK + "add_attention.norm.weight"),
    ("encoder.layer.{i}.attention.output.LayerNorm.beta", _BLOCK + "add_attention.norm.bias"),
    ("encoder.layer.{i}.attention.output.LayerNorm.", _BLOCK + "add_attention.norm."),
    ("encoder.layer.{i}.intermediate.dense.", _BLOCK + "feed_forward.linear1."),
    ("encoder.layer.{i}.output.dense.", _BLOCK + "feed_forward.linear2."),
    ("encoder.layer.{i}.output.LayerNorm.gamma", _BLOCK + "add_feed_forward.norm.weight"),
    ("encoder.layer.{i}.output.LayerNorm.beta", _BLOCK + "add_feed_forward.norm.bias"),
    ("encoder.layer.{i}.output.LayerNorm.", _BLOCK + "add_feed_forward.norm."),
    ("pooler.dense.", "pooler."),
    ("cls.predictions.transform.dense.", "masked.transform."),
    ("cls.predictions.transform.LayerNorm.gamma", "masked.norm.weight"),
    ("cls.predictions.transform.LayerNorm.beta", "masked.norm.bias"),
    ("cls.predictions.transform.LayerNorm.", "masked.norm."),
    ("cls.predictions.decoder.", "masked.decoder."),
    ("cls.predictions.bias", "masked.decoder.bias"),
    ("cls.seq_relationship.", "next_sentence."),
    ("classifier.", "head."),
    ("qa_outputs.", "head."),
)

NAMINGS: dict[str, Naming] = {"transformers bert": ("bert.", _HF_BERT)}
