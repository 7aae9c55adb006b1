"""What of a text is not read, or not known, is told: before training, in each line of predictions, and by predict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers

from danlu.cli import main
from danlu.data.dataset import Data, load
from danlu.data.generated import GENERATE
from danlu.data.labelled import CLASSIFY
from danlu.files import read_jsonl
from danlu.tasks.classify import Classify
from danlu.tasks.finetune import Finetune
from danlu.tasks.material import Material
from danlu.tasks.seq2seq import Seq2Seq
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader

LONG = "话说 to be or not to be " * 10


def rows(*, long: int, short: int) -> list[dict[str, str]]:
    texts = [f"{LONG}{number}" for number in range(long)] + [f"to be {number}" for number in range(short)]
    return [{"text": text, "label": "ab"[number % 2]} for number, text in enumerate(texts)]


def write(path: Path, lines: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("cut", ["head", "tail", "middle"])
def test_texts_that_are_cut_are_counted_and_marked(
    cut: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "a.jsonl", rows(long=3, short=17))
    test = write(tmp_path / "b.jsonl", rows(long=2, short=2))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"finetune:\n  data: {{train: {train}, dev: {train}, test: {test}}}\n  model: {encoder}\n"
        f"  task: {{use: classify, max_tokens: 20, cut: {cut}}}\n  budget: {{steps: 1}}\n  evaluations: 1\n"
    )
    assert main(["finetune", str(recipe), f"run_dir={tmp_path / 'run'}"]) == 0
    told = "read in part, as they have more than 20 (max_tokens): 3 of train, 3 of dev, 2 of test"
    assert told in capsys.readouterr().out
    lines = read_jsonl(tmp_path / "run/finetune/test.predictions.jsonl")
    assert [line.get("cut", False) for line in lines] == [True, True, False, False]
    out = tmp_path / "said.jsonl"
    assert main(["predict", str(tmp_path / "run/finetune/model"), str(test), "--out", str(out)]) == 0
    assert (
        "2 of 4 are about a part of their text, which has more than 20 tokens (max_tokens)" in capsys.readouterr().out
    )
    assert [line.get("cut", False) for line in read_jsonl(out)] == [True, True, False, False]


@pytest.mark.parametrize("alone", [False, True])
def test_sources_that_are_cut_are_told_and_answers_are_no_part_of_them(
    alone: bool, answerer: Path, decoder: Path, tmp_path: Path
) -> None:
    """Of a decoder source and answer stand in one text, whose length says nothing of the source."""
    folder = decoder if alone else answerer
    pairs = [{"source": LONG, "target": "to be"}, {"source": "to be", "target": "話"}, {"source": "be", "target": LONG}]
    file = write(tmp_path / "a.jsonl", pairs)
    task, reader = Seq2Seq(answer_tokens=200), TextReader.load(folder, max_tokens=40)
    examples = load(Data(train=file, dev=file), GENERATE).splits["train"]
    assert [each.cut for each in task.features(examples, Known(), reader)] == [True, False, False]
    assert [cut for _, cut in task._begun(examples, reader)] == [True, False, False]


def test_a_question_that_loses_its_end_is_told(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = TextReader.load(encoder, max_tokens=24)
    reader.windows([(LONG, LONG), ("to be", LONG)], shared=4)
    assert "1 of 2 texts that stand beside a longer one, such as its question, have more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("letters", "told"), [("", None), ("🜁🜂🜃", "of the tokens of train are the one for what the tokenizer")]
)
def test_what_the_tokenizer_does_not_know_is_told(
    letters: str, told: str | None, encoder: Path, tmp_path: Path
) -> None:
    lines = [{**row, "text": f"to be or not to be {letters}"} for row in rows(long=0, short=20)]
    train = write(tmp_path / "a.jsonl", lines)
    settings = Finetune(data=Data(train=train, dev=train), task=Classify(), model=encoder)
    material = Material.of(settings, encoder, load(settings.data, CLASSIFY), out=tmp_path, seed=1)
    unknown = transformers.AutoTokenizer.from_pretrained(encoder).unk_token_id
    read = [id for each in material.features["train"] for id in each.tokens.tolist()]
    share = read.count(unknown) / len(read)
    said = material.told_unknown()
    assert (said is None) is (told is None) is (share < 0.02)
    assert said is None or told is None or (told in said and said.startswith(f"{share:.0%} "))
