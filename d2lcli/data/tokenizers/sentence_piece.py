"""Vocabularies of the library SentencePiece (Kudo and Richardson, 2018): spiece.model, a message of protocol buffers.

Its fields are those of sentencepiece_model.proto.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from d2lcli.data.tokenizers.unigram import Pieces
from d2lcli.errors import DataError, clean

SENTINEL = re.compile(r"<extra_id_\d+>")
KINDS = {1: "Unigram", 2: "BPE", 3: "words", 4: "characters"}  # trainer_spec.model_type
NORMAL, UNKNOWN, CONTROL, USER = 1, 2, 3, 4  # types of a piece; 5 is unused, 6 a byte
Value = int | bytes


def read_sentence_piece(content: bytes, file: Path, sentinels: int) -> Pieces:
    """The pieces of a spiece.model.

    Args:
        content: of the file.
        file: its path, for messages.
        sentinels: how many <extra_id_N> follow the pieces of the file, the highest N first; T5 has 100.

    Raises:
        DataError: it is damaged, or made by other rules than T5's.
    """
    try:
        return _read(content, sentinels)
    except ValueError as error:
        raise DataError(f"{clean(file)}: no SentencePiece model that d2l knows: {error}") from None


def _read(content: bytes, sentinels: int) -> Pieces:
    message = list(_fields(content))
    trainer, normalizer, back = (_part(message, number) for number in (2, 3, 5))
    kind = trainer.get(3, 1)
    if kind != 1:
        raise ValueError(f"its pieces are those of {KINDS.get(_number(kind), 'another model')}, not of Unigram")
    if trainer.get(24, 0) or trainer.get(35, 0) or back.get(2, b""):
        raise ValueError("spaces after words, bytes for unknown characters, and a way back are not known")
    if not all(normalizer.get(number, 1) for number in (3, 4, 5)):
        raise ValueError("only texts with a space before them, and spaces made one, are known")
    tokens, scores, special, unknown = [], [], [], []
    for number, value in message:
        if number != 1:
            continue
        piece = dict(_fields(_bytes(value)))
        token, type_ = _text(_bytes(piece.get(1, b""))), _number(piece.get(3, NORMAL))
        if type_ not in (NORMAL, UNKNOWN, CONTROL) and not (type_ == USER and SENTINEL.fullmatch(token)):
            raise ValueError(f"the piece '{clean(token, 40)}' is of type {type_}, which d2l does not know")
        tokens.append(token)
        scores.append(_float(piece.get(2, 0)))
        special += [token] if type_ != NORMAL else []
        unknown += [token] if type_ == UNKNOWN else []
    if len(unknown) != 1:
        raise ValueError(f"{len(unknown)} of its {len(tokens)} pieces stand for unknown characters")
    if not any(map(SENTINEL.fullmatch, special)):
        names = [f"<extra_id_{number}>" for number in reversed(range(sentinels))]
        tokens, scores, special = tokens + names, scores + [0.0] * sentinels, special + names
    return Pieces(tokens, scores, special, unknown[0], _bytes(normalizer.get(2, b"")))


def _part(message: list[tuple[int, Value]], number: int) -> dict[int, Value]:
    """The fields of a message inside of a message; the last of each counts."""
    return {key: value for field, part in message if field == number for key, value in _fields(_bytes(part))}


def _fields(content: bytes) -> Iterator[tuple[int, Value]]:
    """The number and value of each field: an integer, or bytes."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(content, place)
            yield key >> 3, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"it is damaged at byte {place}")
        size, place = _varint(content, place) if wire == 2 else ({1: 8, 5: 4}[wire], place)
        if place + size > len(content):
            raise ValueError("it is cut off")
        yield key >> 3, content[place : place + size]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Seven bits in each byte, the lowest first, and the eighth where more follow; and the place after it."""
    value = shift = 0
    while place < len(content) and shift < 70:
        byte = content[place]
        value, shift, place = value | (byte & 0x7F) << shift, shift + 7, place + 1
        if byte < 0x80:
            return value, place
    raise ValueError("it is cut off")


def _bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError("it is damaged: a number in place of a text")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is damaged: a piece is not UTF-8") from None


def _number(value: Value) -> int:
    return value if isinstance(value, int) else -1


def _float(value: Value) -> float:
    if isinstance(value, bytes) and len(value) == 4:
        found: float = struct.unpack("<f", value)[0]
        return found
    if value == 0:
        return 0.0
    raise ValueError("it is damaged: a score is no number")
