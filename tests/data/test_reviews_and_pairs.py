"""IMDb and SNLI from small archives in the published layout, and pairs that are made of translations."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from d2lcli.data import imdb as imdb_module
from d2lcli.data import snli as snli_module
from d2lcli.data.annotated import AnnotatedText
from d2lcli.data.archive import read_members, read_tar
from d2lcli.data.dataset import Dataset
from d2lcli.data.examples import ExampleSplit
from d2lcli.data.imdb import REVIEW, imdb
from d2lcli.data.snli import parse_pairs, snli
from d2lcli.data.sources import IMDB, SNLI, DataFile, Source
from d2lcli.data.tokenizers.word import WordTokenizer
from d2lcli.data.translated_pairs import translated_pairs, with_others
from d2lcli.errors import DataError

REVIEWS = {
    **{f"train/{kind}/{i}_9.txt": f"A {kind} film<br /><br />number {i}." for kind in ("pos", "neg") for i in (0, 1)},
    "test/pos/0_10.txt": "Good.", "test/neg/0_1.txt": "Bad.",
    "train/unsup/0_0.txt": "Neither.", "train/labeledBow.feat": "9 0:9", "README": "Hello.",
}  # fmt: skip
HEAD = "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\n"
PAIRS = {
    "train": "entailment\t( ( A dog ) ( runs . ) )\t( An animal )\t(ROOT x)\nneutral\t( A dog )\t( A cat )\tx\n"
    "-\t( A b )\t( c )\tx\n",
    "dev": "contradiction\t( ( ( A dog ) is ) n't )\t( A dog )\tx\n",
    "test": "entailment\t( A )\t( B )\tx\n\n",
}


def packed_reviews(members: Mapping[str, str], **changes: Any) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(f"aclImdb/{name}")
            entry.size = len(text.encode())
            for key, value in changes.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return stream.getvalue()


def packed_pairs(members: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in members.items():
            archive.writestr(f"snli_1.0/snli_1.0_{name}.txt", HEAD + lines)
        archive.writestr("__MACOSX/snli_1.0/._x", "y")
    return stream.getvalue()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on this machine with both archives, whose checksums are the right ones for once."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        for source, module, content in (
            (IMDB, imdb_module, packed_reviews(REVIEWS)),
            (SNLI, snli_module, packed_pairs(PAIRS)),
        ):
            name = source.files[0].name
            (folder / name).write_bytes(content)
            digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            file = DataFile(name, len(content), "", archive=True, sha1=digest)
            monkeypatch.setattr(module, source.name.upper(), Source(source.name, (file,), "", url=url))
        yield folder
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def shown(data: Dataset, split: Any) -> list[tuple[str, int]]:
    """The examples of a split as text, with their classes."""
    assert isinstance(split, ExampleSplit) and isinstance(split.inputs, Tensor) and data.tokenizer is not None
    rows = split.inputs.split(split.lengths.tolist())
    return [(data.tokenizer.decode(row.tolist()), int(label)) for row, label in zip(rows, split.targets)]


def test_reviews_come_from_their_folders(served: Path) -> None:
    data = imdb(tokenizer=WordTokenizer())
    assert data.classes == ("negative", "positive") and data.shape == (500,) and not data.pairs
    assert sorted(shown(data, data.train)) == [
        (f"<cls> A {kind} film number {i}. <sep>", label) for label, kind in enumerate(("neg", "pos")) for i in (0, 1)
    ]  # fmt: skip
    assert sorted(label for _, label in shown(data, data.val)) == [0, 1] and data.test is None
    assert list(data.files) == [str(Path(data.train.source))] and "aclImdb_v1.tar.gz" in data.train.source
    served.joinpath("aclImdb_v1.tar.gz").unlink()
    assert shown(imdb(tokenizer=WordTokenizer()), data.train) == shown(data, data.train)  # now from the cache


def test_reviews_are_words_in_lower_case_that_occur_five_times(served: Path) -> None:
    with pytest.raises(DataError, match=r"min_freq=5 times; the most is 4"):
        imdb()
    assert IMDB.files[0].sha1 == "01ada507287d82875905620988597833ad4e0903"


def test_pairs_lose_their_parentheses_and_the_undecided(served: Path) -> None:
    data = snli(tokenizer=WordTokenizer(), num_steps=20)
    assert data.classes == ("entailment", "contradiction", "neutral") and data.pairs and data.test is not None
    assert shown(data, data.train) == [
        ("<cls> A dog runs . <sep> An animal <sep>", 0), ("<cls> A dog <sep> A cat <sep>", 2),
    ]  # fmt: skip
    assert [label for _, label in shown(data, data.val)] == [1]
    assert [label for _, label in shown(data, data.test)] == [0]
    assert SNLI.files[0].sha1 == "9fcde07509c7e87ec61c640c1b2753d9041758e4"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("maybe\t(a)\t(b)\n", "line 2: no label and two sentences: 'maybe"),
        ("entailment\t(a)\n", "line 2: no label and two sentences"),
        ("-\t(a)\t(b)\n", "no pairs"),
        ("", "no pairs"),
    ],
)
def test_lines_that_are_no_pairs(content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        parse_pairs((HEAD + content).encode(), "here")
    with pytest.raises(DataError, match="line 2: not UTF-8 at byte 0"):
        parse_pairs(HEAD.encode() + b"\xff", "here")


def test_archives_without_what_is_needed() -> None:
    assert read_members(packed_pairs({}), "a.zip", max_members=9, max_bytes=99, only=["x"]) == {}
    with pytest.raises(DataError, match="there are no reviews in aclImdb/test/pos"):
        imdb_module._reviews({"aclImdb/train/pos/1_1.txt": b"x"}, "test", "a")
    with pytest.raises(DataError, match=r"train/pos/1_1\.txt: not UTF-8 at byte 0"):
        imdb_module._reviews({"aclImdb/train/pos/1_1.txt": b"\xff"}, "train", "a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed_reviews({"train/pos/1_1.txt": "x" * 99})[:-40], "damaged archive"),
        (b"no archive", "damaged archive"),
        (packed_reviews({"train/pos/1_1.txt": ""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "not a regular file"),
        (packed_reviews({f"train/pos/{i}_1.txt": "x" for i in range(5)}), "more than the 4 members of 100 bytes"),
        (packed_reviews({"train/pos/1_1.txt": "x" * 101}), "more than the 4 members of 100 bytes"),
    ],
)
def test_hostile_and_damaged_archives(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_tar(content, "a.tar.gz", wanted=REVIEW, max_members=4, max_bytes=100)


def test_a_member_that_is_there_twice() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("aclImdb/train/pos/1_1.txt"), io.BytesIO())
    with pytest.raises(DataError, match="is there twice"):
        read_tar(stream.getvalue(), "a.tar.gz", wanted=REVIEW, max_members=4, max_bytes=100)


def test_names_outside_the_layout_are_passed_over() -> None:
    content = packed_reviews({"../../train/pos/1_1.txt": "x", "train/pos/1_1.txt/../2_2.txt": "x"})
    assert read_tar(content, "a.tar.gz", wanted=REVIEW, max_members=4, max_bytes=100) == {}


@pytest.fixture(scope="module")
def translated() -> Dataset:
    return translated_pairs()


def test_half_of_the_pairs_are_translations(translated: Dataset) -> None:
    assert translated.pairs and translated.found == "embedded" and translated.num_outputs == 2
    assert (len(translated.train), len(translated.val)) == (36_000, 4_000)
    for split in (translated.train, translated.val):
        assert split.targets.double().mean() == 0.5 and 0.3 < split.targets[:200].double().mean() < 0.7


def test_no_sentence_of_the_validation_is_trained_on(translated: Dataset) -> None:
    """By all tokens of the English sentence; a few differ in words that the vocabulary does not have."""
    splits = translated.train, translated.val
    train, val = ({text.split(" <sep> ")[0] for text, _ in shown(translated, split)} for split in splits)
    assert {text for text in train & val if "<unk>" not in text} == set()


def test_others_have_the_same_length_and_another_text() -> None:
    pairs = [AnnotatedText(f"e{i}", "w " * (i % 3) + f"s{i // 4}", 1) for i in range(24)]
    made = with_others(pairs)
    assert len(made) == 48 and sorted(pair.texts for pair in made if pair.target == 1) == sorted(p.texts for p in pairs)
    own = {pair.first: pair.second for pair in pairs}
    wrong = [pair for pair in made if pair.target == 0]
    assert all(pair.second != own[str(pair.first)] for pair in wrong)
    differences = [abs(len(str(pair.second)) - len(str(own[str(pair.first)]))) for pair in wrong]
    assert sum(difference > 2 for difference in differences) <= 3
    assert with_others(pairs[:1]) == pairs[:1]  # there is no other one
