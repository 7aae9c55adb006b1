"""A tokenizer by whatever name: a run, a recipe, a folder, a file; and what is refused."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
import transformers

from danlu import cli
from danlu.errors import InputError
from danlu.tokenizers.named import NamedTokenizer

TEXT = "It was the best, they said </s> 话说天下"
RECIPE = "clean: {sources: [text]}\ntokenizer: {use: bpe, vocab_size: 300}\n"


def ids(named: NamedTokenizer) -> list[int]:
    return named.encode_batch([TEXT])[0]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a recipe whose tokenizer is not trained yet."""
    monkeypatch.chdir(tmp_path)
    Path("text").mkdir()
    Path("text/a.txt").write_text("All the world's a stage.\n" * 20)
    Path("r.yaml").write_text(RECIPE)
    return Path("runs/r")


def test_a_recipe_its_run_and_the_folder_in_it_are_one(run: Path) -> None:
    with pytest.raises(InputError, match=r"^r.yaml has no tokenizer yet; 'danlu tokenizer RECIPE' trains it$"):
        NamedTokenizer.open(Path("r.yaml"))
    assert cli.main(["clean", "r.yaml"]) == cli.main(["tokenizer", "r.yaml"]) == 0
    found = [NamedTokenizer.open(path) for path in (Path("r.yaml"), run, run / "tokenizer")]
    assert ids(found[0]) == ids(found[1]) == ids(found[2])
    assert found[0].kind == "BPE" and found[0].unknown is None


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "byte fallback", "byte level"])
def test_a_file_alone_is_its_folder(kinds: dict[str, Path], tmp_path: Path, kind: str) -> None:
    alone = Path(shutil.copy(kinds[kind] / "tokenizer.json", tmp_path / "mine.json"))
    folder, beside, moved = (NamedTokenizer.open(path) for path in (kinds[kind], alone.parent / alone.name, alone))
    assert ids(folder) == ids(beside) == ids(moved)
    assert folder.unknown == moved.unknown and folder.vocab_size == moved.vocab_size


def test_sentencepiece_files_of_any_name(tmp_path: Path) -> None:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["it was the best of times they said"] * 9 + ["话说天下大势"] * 9), vocab_size=40,
        model_writer=written, hard_vocab_limit=False, minloglevel=2, character_coverage=1.0,
    )  # fmt: skip
    file = tmp_path / "some.model"
    file.write_bytes(written.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
    for path in (file, tmp_path):
        named = NamedTokenizer.open(path)
        assert named.encode_batch(["it was the best 话说天下"]) == [processor.encode("it was the best 话说天下")]
        assert named.unknown == processor.unk_id() and named.vocab_size == processor.vocab_size()
    shutil.copy(file, tmp_path / "other.model")
    with pytest.raises(InputError, match=r"has 2 files of tokenizers; name one: "):
        NamedTokenizer.open(tmp_path)


def test_a_vocabulary_alone_is_berts(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "was", "##s", "话"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    stock = transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    wanted = stock("It was its 话说 [SEP]", add_special_tokens=False, split_special_tokens=True).input_ids
    for path in (tmp_path, tmp_path / "vocab.txt", Path(shutil.copy(tmp_path / "vocab.txt", tmp_path / "zh.txt"))):
        assert NamedTokenizer.open(path).encode_batch(["It was its 话说 [SEP]"]) == [wanted]
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "tokenizer_class": "BertTokenizer"})
    )
    assert NamedTokenizer.open(tmp_path / "vocab.txt").encode_batch(["It"]) == [[1]]
    assert NamedTokenizer.open(tmp_path / "zh.txt").encode_batch(["It"]) == [[5]]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.json", "{", "the tokenizer in .*a.json is damaged"),
        ("a.json", "{}", "the tokenizer in .*a.json is damaged"),
        ("a.model", "text", "the tokenizer in .*a.model is damaged"),
        ("a.bin", "x", "cannot tell what tokenizer .*a.bin is by its name"),
        ("gone.json", None, "there is no tokenizer .*gone.json: no file, no folder, no recipe"),
        ("empty", None, "there is no tokenizer"),
    ],
)
def test_what_is_none_is_one_line(tmp_path: Path, name: str, content: str | None, line: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=line):
        NamedTokenizer.open(tmp_path / name)
    with pytest.raises(InputError, match=r"^no tokenizer in .*: it has none of tokenizer.json, vocab.txt"):
        (tmp_path / "bare").mkdir()
        NamedTokenizer.open(tmp_path / "bare")


def test_a_model_without_tokens_has_none(tmp_path: Path) -> None:
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(tmp_path / "tokenizer.json"))
    assert NamedTokenizer.open(tmp_path).vocab_size == 0
