"""The stage pack: stores that hold the documents, token by token, and say what they lack."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from danlu.corpus.pack import Pack
from danlu.corpus.split import HashSplit, TailSplit
from danlu.corpus.store import TokenStore
from danlu.errors import InputError, RecipeError
from danlu.recipe import Recipe, build, load_recipe, plain
from danlu.runs import run_stages
from danlu.stage import Job
from danlu.text.document import Document, shard_path
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer

ENGLISH = [Document(f"en#{n}", f"number {n} <|endoftext|>", {"language": "en", "source": "en"}) for n in range(300)]
CHINESE = [Document(f"zh#{n}", f"第{n}回", {"language": "zh", "source": "zh"}) for n in range(300)]


def job(folder: Path, documents: Iterable[Document]) -> Job:
    for name in ("clean", "tokenizer", "pack"):
        (folder / name).mkdir(parents=True)
    shard_path(folder / "clean", 0).write_bytes(b"".join(document.line() for document in documents))
    Char().train(document.text for document in ENGLISH + CHINESE).save(folder / "tokenizer")
    inputs = {name: folder / name for name in ("clean", "tokenizer")}
    return Job(Recipe("test", folder, 1, {}), inputs, folder / "pack")


def texts(store: TokenStore, tokenizer: Tokenizer) -> list[str]:
    spans = zip(store.starts, store.starts[1:], strict=False)
    return [tokenizer.decode(store.tokens[start + 1 : end].tolist()) for start, end in spans]


def test_every_document_is_in_one_store_and_whole(tmp_path: Path) -> None:
    work = job(tmp_path, ENGLISH + CHINESE)
    figures = Pack(split=HashSplit(fraction=0.2)).run(work)
    tokenizer = Tokenizer.load(tmp_path / "tokenizer")
    stores = {part: TokenStore.open(work.out / part) for part in ("train", "heldout")}
    known = {document.id: document for document in ENGLISH + CHINESE}
    seen: list[str] = []
    for part, store in stores.items():
        for about, text in zip(store.documents, texts(store, tokenizer), strict=True):
            document = known[about["id"]]
            assert text == document.text
            assert about["language"] == document.meta["language"]
            assert next(HashSplit(fraction=0.2).parts(document))[0] == part
            seen.append(about["id"])
        for language in ("en", "zh"):
            mine = [d for d in store.documents if d["language"] == language]
            assert figures[f"{part}.{language}.bytes"] == sum(d["bytes"] for d in mine)
            assert figures[f"{part}.{language}.tokens"] == sum(len(known[d["id"]].text) + 1 for d in mine)
        assert figures[f"{part}.documents"] == len(store.documents)
        assert figures[f"{part}.tokens"] == len(store.tokens)
    assert sorted(seen) == sorted(known)


def test_text_that_looks_like_the_separator_parts_no_documents(tmp_path: Path) -> None:
    work = job(tmp_path, ENGLISH)
    Pack().run(work)
    store = TokenStore.open(work.out / "train")
    assert int((store.tokens == store.eot).sum()) == len(store.documents) + 1


def test_the_stores_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        work = job(tmp_path / name, ENGLISH + CHINESE)
        Pack().run(work)
        Pack().tidy(work.out)
        contents.append({p.relative_to(work.out): p.read_bytes() for p in work.out.rglob("*") if p.is_file()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2 * 11


def test_a_part_without_documents_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^pack.split sends no document to the heldout part; [^\n]*use: tail[^\n]*$"):
        Pack().run(job(tmp_path / "few", ENGLISH[:2]))
    assert not [path for path in (tmp_path / "few" / "pack").rglob("*") if path.is_file()]
    with pytest.raises(InputError, match=r"^pack.split sends no document to the train part"):
        Pack(split=TailSplit(fraction=0.9)).run(job(tmp_path / "short", [Document("a", "x", {"language": "en"})]))


def test_a_language_that_is_not_held_out_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = [d for d in ENGLISH if next(HashSplit().parts(d))[0] == "heldout"]
    trained = [d for d in ENGLISH + CHINESE if next(HashSplit().parts(d))[0] == "train"]
    Pack().run(job(tmp_path, held + trained))
    assert "pack: no zh document is held out; the held-out figures will not cover zh" in capsys.readouterr().out


MARKED = {"marks": ["words", "phrases", "sentences"], "split": {"use": "hash", "fraction": 0.2}}


def test_marks_lie_beside_the_tokens_that_are_the_same_without_them(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("number 7\t3\n", encoding="utf-8")
    unmarked, marked = job(tmp_path / "plain", ENGLISH + CHINESE), job(tmp_path / "marked", ENGLISH + CHINESE)
    Pack(split=HashSplit(fraction=0.2)).run(unmarked)
    build(Pack, {**MARKED, "lexicon": str(lexicon)}, key="pack").run(marked)
    tokenizer = Tokenizer.load(tmp_path / "marked" / "tokenizer")
    for part in ("train", "heldout"):
        without, store = TokenStore.open(unmarked.out / part), TokenStore.open(marked.out / part)
        assert store.tokens.tolist() == without.tokens.tolist()
        assert without.marks is None
        assert store.marks is not None
        assert store.marked == ("words", "phrases", "sentences")
        for about, start, end in zip(store.documents, store.starts, store.starts[1:], strict=False):
            text = tokenizer.decode(store.tokens[start + 1 : end].tolist())
            marks = "".join(map(str, store.marks[start + 1 : end].tolist()))
            if about["language"] == "zh":
                assert marks == "7" + "3" + "0" * (len(text) - 3) + "3"
            else:
                number = text.split()[1]
                first = "1" if number == "7" else "3"  # within the phrase
                assert marks == "7000000" + first + "0" * len(number) + "333" + "0" * 8 + "33"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"marks": ["phrases"]}, r"^pack: marks of phrases need a lexicon; name its file as pack\.lexicon$"),
        ({"marks": ["words"], "lexicon": "x.txt"}, r"^pack: lexicon has no effect without phrases among pack\.marks$"),
        ({"marks": ["verses"]}, r"^pack\.marks\.0 must be 'words', 'phrases' or 'sentences'; got 'verses'"),
        ({"segmenter": "jiebe"}, r"^pack\.segmenter\.use: unknown segmenter 'jiebe'; did you mean 'jieba'\?"),
    ],
)
def test_settings_of_marks_that_make_no_sense(settings: dict[str, object], line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        build(Pack, settings, key="pack")


def test_the_lexicon_is_part_of_what_a_store_is_made_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("To be, or not to be: 生存还是毁灭。" * 20, encoding="utf-8")
    lexicon, path = tmp_path / "lexicon.txt", tmp_path / "r.yaml"
    path.write_text(
        f"run_dir: {tmp_path / 'run'}\nclean: {{sources: [{tmp_path / 'text'}]}}\ntokenizer: {{use: char}}\n"
        f"pack: {{split: {{use: tail, fraction: 0.2}}, marks: [phrases], lexicon: {lexicon}}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(path)
    assert load_recipe(path).section("pack") == build(Pack, plain(recipe.section("pack")), key="pack")
    with pytest.raises(InputError, match=rf"^pack\.lexicon: there is no file {lexicon}$"):
        run_stages(recipe, list(recipe.sections))
    contents = []
    for phrase in ("to be", "to be", "or not"):
        lexicon.write_text(phrase, encoding="utf-8")
        run_stages(recipe, list(recipe.sections))
        contents.append((tmp_path / "run" / "pack" / "train" / "marks-00000.bin").read_bytes())
    out = capsys.readouterr().out
    assert out.count("pack: unchanged, skipped") == 1
    assert "pack: the files that it reads changed; it runs again" in out
    assert contents[0] == contents[1] != contents[2]
