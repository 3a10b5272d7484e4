"""Vocabularies as published, made here by the library `tokenizers` from Botchan; each with the library's tokenizer."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from spiece import MARK, SPECIAL, charsmap_of, model_file, small_table

import d2lcli.data

BOTCHAN = Path(d2lcli.data.__file__).parent / "files" / "botchan" / "botchan.txt.gz"


@pytest.fixture(scope="session")
def botchan() -> str:
    return gzip.decompress(BOTCHAN.read_bytes()).decode()


def bert_model(tokenizers: Any, vocabulary: dict[str, int], lower: bool) -> Any:
    """What transformers' BertTokenizer consists of, without special tokens in texts."""
    found = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    found.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    found.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    found.decoder = tokenizers.decoders.WordPiece()
    return found


def gpt2_model(tokenizers: Any) -> Any:
    """Likewise of GPT2Tokenizer."""
    found = tokenizers.Tokenizer(tokenizers.models.BPE({}, []))
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = tokenizers.decoders.ByteLevel()
    return found


@pytest.fixture(scope="session", params=[True, False], ids=["uncased", "cased"])
def bert(request: pytest.FixtureRequest, botchan: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with vocab.txt, special tokens where BERT has them; and the library's tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    folder, lower = tmp_path_factory.mktemp("bert"), request.param
    model = bert_model(tokenizers, {"[UNK]": 0}, lower)
    model.train_from_iterator([botchan], tokenizers.trainers.WordPieceTrainer(vocab_size=1500, show_progress=False))
    learnt = [token for token in sorted(model.get_vocab()) if token != "[UNK]"]
    unused = [f"[unused{i}]" for i in range(99)]
    tokens = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *learnt]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower, "strip_accents": None}))
    return folder, bert_model(tokenizers, {token: i for i, token in enumerate(tokens)}, lower)


@pytest.fixture(scope="session")
def gpt2(botchan: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with vocab.json and merges.txt, the special token at the end; and the library's tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    folder, model = tmp_path_factory.mktemp("gpt2"), gpt2_model(tokenizers)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=1500, show_progress=False, initial_alphabet=alphabet)
    model.train_from_iterator([botchan], trainer)
    model.model.save(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"<|endoftext|>": len(vocabulary)}))
    return folder, model


def t5_model(tokenizers: Any, pieces: list[tuple[str, float]], charsmap: bytes) -> Any:
    """Likewise of T5Tokenizer."""
    found = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 2, False))
    found.normalizer = tokenizers.normalizers.Precompiled(charsmap)
    spaced = tokenizers.pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    found.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([tokenizers.pre_tokenizers.WhitespaceSplit(), spaced])
    found.decoder = tokenizers.decoders.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    return found


@pytest.fixture(scope="session")
def t5(botchan: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with spiece.model, and the library's tokenizer, with the sentinels that T5's adds."""
    tokenizers = pytest.importorskip("tokenizers")
    folder, table = tmp_path_factory.mktemp("t5"), charsmap_of(small_table())
    model = t5_model(tokenizers, [(text, score) for text, score, _ in SPECIAL], table)
    trainer = tokenizers.trainers.UnigramTrainer(vocab_size=1500, show_progress=False, unk_token="<unk>")
    model.train_from_iterator(botchan.split("\n"), trainer)
    learnt = json.loads(model.to_str())["model"]["vocab"]
    # Scores are float32 in a spiece.model.
    pieces = [(text, struct.unpack("f", struct.pack("f", score))[0]) for text, score in learnt if text != "<unk>"]
    content = model_file([*SPECIAL, *((text, score, 1) for text, score in pieces)], table)
    (folder / "spiece.model").write_bytes(content)
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in reversed(range(100))]
    return folder, t5_model(tokenizers, [*((text, score) for text, score, _ in SPECIAL), *pieces, *sentinels], table)
