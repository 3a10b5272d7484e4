"""The data sets that are files: their names, sizes and checksums.  A table of text, nothing is imported or opened.

Sizes and SHA-256 are those of the content after decompression, but of an archive as it lies.
"""

from dataclasses import dataclass

FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


@dataclass(frozen=True)
class DataFile:
    """One file.

    Args:
        name: as published.
        size: bytes of its content.
        sha256: of its content.
        md5: of the file as published, where it can be downloaded.
        archive: content is the file as it lies, though its name may end in .gz.
        sha1: of the file as published, where its publisher gives no better checksum; `size` is then the most that it
            may have, and `sha256` is empty.
    """

    name: str
    size: int
    sha256: str
    md5: str = ""
    archive: bool = False
    sha1: str = ""


@dataclass(frozen=True)
class Source:
    """A data set made of files.

    Args:
        name: the registry's name.
        files: all of them.
        licence: in short; the whole text lies beside the embedded files.
        embedded: part of the package.
        folders: names that a folder with the files may have below data.root or $D2L_DATA.
        system: folders where an operating system's package puts the files.
        url: where the files can be downloaded, with a final slash.
        ways: how else to get them, in words.
    """

    name: str
    files: tuple[DataFile, ...]
    licence: str
    embedded: bool = False
    folders: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    url: str = ""
    ways: tuple[str, ...] = ()


FASHION_MNIST_MINI = Source(
    "fashion_mnist_mini",
    (
        DataFile(
            "train-images-idx3-ubyte.gz", 7840016, "d33512cfdc636a0d8972818e6659995be209a88891df7fa2109d7895922c8985"
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz", 10008, "620cb8e3b9348037c5ff9a07b02d773ab165330e072dfd19e0d21c59f8042dcf"
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz", 1568016, "15a92dd1e9b16ea361928086e77df4dfa890c255c00b5a8c8162c1040ce8eef1"
        ),
        DataFile("t10k-labels-idx1-ubyte.gz", 2008, "234596aeb6eb48133ec99a62541f90bc0728c9559a681f1e0638037462458f2c"),
    ),
    "MIT, Zalando SE 2017",
    embedded=True,
    folders=("fashion_mnist_mini",),
)

FASHION_MNIST = Source(
    "fashion_mnist",
    (
        DataFile(
            "train-images-idx3-ubyte.gz",
            47040016,
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz",
            60008,
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "25c81989df183df01b3e8a0aad5dffbe",
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz",
            7840016,
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "bef4ecab320f06d8554ea6380940ec79",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz",
            10008,
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "MIT, Zalando SE 2017",
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
    system=("/usr/share/datasets/fashion-mnist",),
    url=FASHION_MNIST_URL,
    ways=("install Debian's package dataset-fashion-mnist",),
)

EMOJI64 = Source(
    "emoji64",
    (DataFile("emoji64.zip", 3037014, "ff20f7f411285564727f0d8f43a9dfcdfc6aa4681d2ad1e9a74071d7a48a96b9"),),
    "Apache-2.0, Noto Emoji",
    embedded=True,
    folders=("emoji64",),
)

# The MD5 is on the author's page, https://www.cs.toronto.edu/~kriz/cifar.html; size and SHA-256 are those that
# several other projects record.
CIFAR10 = Source(
    "cifar10",
    (
        DataFile(
            "cifar-10-binary.tar.gz",
            170052171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "c32a1d4ab5d03f1284b67883e8d87530",
            archive=True,
        ),
    ),
    "none stated, Krizhevsky 2009",
    folders=("cifar10",),
    url="https://www.cs.toronto.edu/~kriz/",
)

AIRFOIL = Source(
    "airfoil",
    (
        DataFile(
            "airfoil_self_noise.dat",
            59984,
            "74c75fd71783f1e6b71f8a622b993dc592897a97cd689c5090a07147a1b097b3",
            "b12d5b7b475ec7b3971d97f21e377414",
        ),
    ),
    "CC BY 4.0, Brooks, Pope and Marcolini 1989 (UCI)",
    folders=("airfoil", "book"),
    url="http://d2l-data.s3-accelerate.amazonaws.com/",
)

AMES = Source(
    "ames",
    (DataFile("ames.csv.gz", 1329400, "fffc39d8da28326db8f32c310aaad9ae4054d0d0d31e5567b095707650be30b8"),),
    "MIT, modeldata; data: De Cock 2011",
    embedded=True,
    folders=("ames",),
)

BOTCHAN = Source(
    "botchan",
    (DataFile("botchan.txt.gz", 254826, "d58fc7aa3915f679ed9565ad968283f063cb2849e32d81473ab32cc7ec2892c1"),),
    "public domain",
    embedded=True,
    folders=("botchan",),
)

TIME_MACHINE = Source(
    "time_machine",
    (
        DataFile(
            "timemachine.txt",
            178979,
            "8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
            "7353d136ab308ecd0d4f1c5bf0e23122",
        ),
    ),
    "public domain, Wells 1898",
    folders=("time_machine", "book"),
    url="http://d2l-data.s3-accelerate.amazonaws.com/",
)

WIKITEXT2 = Source(
    "wikitext2",
    (
        DataFile("train.raw.gz", 10940747, "6707892fa3788b5ab9ed78ab5ff37d9fe825f6011a2ad4fcd6a6d467f0e7da57"),
        DataFile("valid.raw.gz", 1146846, "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7"),
        DataFile("test.raw.gz", 1290590, "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08"),
    ),
    "CC BY-SA 3.0, Merity et al. 2016",
    folders=("wikitext2",),
    ways=("put the raw texts as train.raw.gz, valid.raw.gz and test.raw.gz into a folder wikitext2 below $D2L_DATA",),
)

TATOEBA_EN_ES_MINI = Source(
    "tatoeba_en_es_mini",
    (DataFile("pairs.tsv.gz", 2828542, "6a420653c05d737435249b5d674b3d9ca017dd4be6f27af5d00d88279dd4c004"),),
    "CC BY 2.0 FR, Tatoeba",
    embedded=True,
    folders=("tatoeba_en_es_mini",),
)

FRA_ENG = Source(
    "fra_eng",
    (DataFile("fra-eng.zip", 16 << 20, "", archive=True, sha1="94646ad1522d915e7b0f9296181140edcf86a4f5"),),
    "CC BY 2.0 FR, Tatoeba",
    folders=("fra_eng", "book"),
    url="http://d2l-data.s3-accelerate.amazonaws.com/",
)

MOVIE_SNIPPETS = Source(
    "movie_snippets",
    (DataFile("snippets.tsv.gz", 1269574, "a07cef88099627505d8a246d2e40c5dd00a11e09beba2fca1703b88ebdea39be"),),
    "MIT, Hutto and Gilbert 2014",
    embedded=True,
    folders=("movie_snippets",),
)

SICK = Source(
    "sick",
    (
        DataFile("SICK_train.txt.gz", 506243, "266cf8047149bd1d68138dd30439f3122bff30069740ac6705bb6197d9f1b48e"),
        DataFile("SICK_trial.txt.gz", 57225, "5a88cfb62f8c6bd2a3cce0f2421ba2cb8c2be5ab4a800f6f01e2c64aafb7db56"),
        DataFile(
            "SICK_test_annotated.txt.gz", 559979, "2b8aa806658d6fc23c6824c83776c2d4fee7556000817b5ec0f982861413b7d0"
        ),
    ),
    "CC BY-NC-SA 3.0, Marelli et al. 2014",
    folders=("sick",),
    ways=(
        "put SICK_train.txt, SICK_trial.txt and SICK_test_annotated.txt of SemEval-2014 task 1 into a folder sick "
        "below $D2L_DATA",
    ),
)

IMDB = Source(
    "imdb",
    (DataFile("aclImdb_v1.tar.gz", 96 << 20, "", archive=True, sha1="01ada507287d82875905620988597833ad4e0903"),),
    "none stated, Maas et al. 2011",
    folders=("imdb", "book"),
    url="http://d2l-data.s3-accelerate.amazonaws.com/",
)

SNLI = Source(
    "snli",
    (DataFile("snli_1.0.zip", 96 << 20, "", archive=True, sha1="9fcde07509c7e87ec61c640c1b2753d9041758e4"),),
    "CC BY-SA 4.0, Bowman et al. 2015",
    folders=("snli", "book"),
    url="https://nlp.stanford.edu/projects/snli/",
)

ANALOGIES = DataFile(
    "questions-words.txt.gz", 603955, "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"
)
SIMLEX999 = DataFile("simlex999.txt.gz", 18126, "d5e0501971478a511430ee880bd0121e94ac701ba86d90544d83e6d2ba3db05d")
WORDSIM353 = DataFile("wordsim353.tsv.gz", 7186, "f92a022fc2537793a15bc3a8c162ebcd74990e033a228bb6388cb71e4c0b1e1d")
WORD_SIMILARITY = Source(  # no data set to train on: tests of word vectors
    "word_similarity",
    (ANALOGIES, SIMLEX999, WORDSIM353),
    "Apache-2.0, CC BY 4.0, free to use: see the LICENSE beside the files",
    embedded=True,
)

_ALL = (
    FASHION_MNIST_MINI, FASHION_MNIST, EMOJI64, CIFAR10, AIRFOIL, AMES,
    BOTCHAN, TIME_MACHINE, WIKITEXT2, TATOEBA_EN_ES_MINI, FRA_ENG, MOVIE_SNIPPETS, SICK, IMDB, SNLI,
)  # fmt: skip
SOURCES = {source.name: source for source in _ALL}
