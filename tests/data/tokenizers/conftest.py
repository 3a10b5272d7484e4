"""Vocabularies as published, made here by the library `tokenizers` from Botchan; each with the library's tokenizer."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

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
