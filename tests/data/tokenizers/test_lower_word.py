"""Words in lower case: how punctuation and contractions are parted."""

import pytest

from d2lcli.data.tokenizers.lower_word import lower_word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's GOOD.", "it 's good ."),
        ("I don't, we can't; they're here", "i do n't , we ca n't ; they 're here"),
        ("rock 'n' roll ''quoted''", "rock ' n ' roll ' ' quoted ' '"),
        ("well-made (2,000 films)", "well - made ( 2 , 000 films )"),
        ("\u00bfD\u00f3nde EST\u00c1?\n\t", "\u00bf d\u00f3nde est\u00e1 ?"),
        ("dogs' 's's n'tx", "dogs ' 's 's n ' tx"),
    ],
)
def test_how_text_is_parted(text: str, expected: str) -> None:
    """As the Penn Treebank parts contractions; every mark is a token by itself."""
    tokens = lower_word().split(text)
    assert " ".join(tokens) == expected
    for token in tokens:
        assert lower_word().split(token) == [token]


def test_parting_again_changes_nothing() -> None:
    every = "".join(map(chr, range(0x3000)))
    tokenizer = lower_word()
    first = tokenizer.split(every)
    assert tokenizer.split(tokenizer.join(first)) == first
