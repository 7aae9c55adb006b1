"""Data sets as they are published: as many examples as their descriptions say, from columns that were guessed.

But for 145 document marks that wikigold's counts, 2 empty questions of CMRC's trial, and 13 conversations of
HH-RLHF that break off or have two answers in a row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu.data.dataset import Data, load, load_inputs
from danlu.data.findings import look
from danlu.data.forms import FORMS
from danlu.data.telling_words import telling_words
from danlu.errors import InputError

SHARED = Path(__file__).parents[3] / "shared/data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the data sets in {SHARED}")

SMALL: list[tuple[str, str, int, dict[str, Any]]] = [
    ("classification/en/sst2/dev.tsv", "classify", 872, {}),
    ("classification/en/banking77/test.csv", "classify", 3080, {}),
    ("classification/en/trec_qc/test.jsonl", "classify", 500, {}),
    ("classification/en/cola/dev_in_domain.tsv", "classify", 527, {}),
    ("classification/zh/chnsenticorp/dev.tsv", "classify", 1200, {}),
    ("classification/zh/thucnews_titles/dev.txt", "classify", 10000, {}),
    ("pairs/zh/stsb_zh/test.tsv", "similarity", 1361, {}),
    ("pairs/zh/ocnli/dev.json", "pair", 3000, {}),
    ("ner/en/wnut17/dev.conll", "tag", 1009, {}),
    ("ner/en/wikigold.conll", "tag", 1696, {}),
    ("ner/zh/uner_gsdsimp/dev.iob2", "tag", 500, {}),
    ("ner/zh/weibo/dev.conll", "tag", 270, {}),
    ("qa/zh/cmrc2018_trial.json", "extract", 1000, {"mend": True}),
    ("summarization/en/scitldr/dev.jsonl", "generate", 619, {}),
    ("summarization/zh/csl_title_dev.jsonl", "generate", 1000, {}),
    ("summarization/zh/csl_keywords_dev.jsonl", "keywords", 1000, {}),
    ("translation/en-de/multi30k/val.tsv", "generate", 1014, {}),
    ("instruct/en/alpaca_en_demo.json", "chat", 999, {}),
    ("instruct/zh/alpaca_zh_demo.json", "chat", 1000, {}),
    ("instruct/en/tool_calls_en.json", "chat", 300, {}),
    ("instruct/en/dolly_hhrlhf_small.jsonl", "chat", 1000, {}),
    ("preference/zh/dpo_zh_demo.json", "prefer", 300, {}),
    ("preference/en/kto_en_demo.json", "feedback", 300, {}),
    ("zero_shot/en/copa.jsonl", "choice", 100, {}),
    ("zero_shot/en/piqa.jsonl", "choice", 1838, {}),
    ("zero_shot/en/arc_easy.jsonl", "choice", 2376, {}),
    ("zero_shot/zh/cmmlu_dev.jsonl.gz", "choice", 335, {}),
    ("safety/zh/cold/test.csv", "classify", 5323, {}),
]
LARGE: list[tuple[str, str, int, dict[str, Any]]] = [
    ("classification/en/sst2/train.tsv", "classify", 6920, {}),
    ("classification/en/banking77/train.csv", "classify", 10003, {}),
    ("classification/en/cola/train.tsv", "classify", 8551, {}),
    ("classification/zh/chnsenticorp/train.tsv", "classify", 9600, {}),
    ("classification/zh/online_shopping_10_cats.jsonl.gz", "classify", 62773, {"columns": {"label": "category"}}),
    ("pairs/en/stsbenchmark.tsv", "similarity", 8628, {}),
    ("pairs/zh/ocnli/train.json", "pair", 10000, {}),
    ("ner/en/wnut17/train.conll", "tag", 3394, {}),
    ("ner/zh/uner_gsdsimp/train.iob2", "tag", 3997, {}),
    ("ner/zh/weibo/train.conll", "tag", 1350, {"mend": True}),
    ("qa/en/squadshifts_new_wiki.json", "extract", 7938, {}),
    ("qa/zh/cmrc2018_dev.json", "extract", 3219, {"mend": True}),
    ("translation/en-de/multi30k/train.tsv.gz", "generate", 29000, {}),
    ("translation/en-zh/tatoeba_en_zh.tsv.gz", "generate", 29155, {}),
    ("translation/lzh-zh/classical_modern.tsv.gz", "generate", 40000, {}),
    ("instruct/en/gsm8k/train.jsonl", "chat", 7473, {}),
    ("preference/en/hh_rlhf_harmless_test.jsonl.gz", "prefer", 2299, {"mend": True}),
    ("safety/en/hate_offensive_tweets.csv", "classify", 24783, {"columns": {"text": "tweet"}}),
    ("safety/zh/cold/train.csv", "classify", 25726, {}),
]


def count(name: str, form: str, said: dict[str, Any]) -> tuple[int, str]:
    """Examples of a file, all of them with what is right, and what was said of it."""
    data = load(Data(train=SHARED / name, **said), FORMS[form])
    return sum(map(len, data.splits.values())), "\n".join(data.said)


@pytest.mark.parametrize(("name", "form", "rows", "said"), SMALL, ids=lambda value: str(value)[-24:])
def test_as_many_examples_as_are_described(name: str, form: str, rows: int, said: dict[str, Any]) -> None:
    assert count(name, form, said)[0] == rows


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form", "rows", "said"), LARGE, ids=lambda value: str(value)[-24:])
def test_as_many_examples_as_are_described_of_large_files(
    name: str, form: str, rows: int, said: dict[str, Any]
) -> None:
    assert count(name, form, said)[0] == rows


LABELLED = [(*each[:2], each[3]) for each in (*SMALL, *LARGE) if each[1] in ("classify", "pair")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form", "said"), LABELLED, ids=lambda value: str(value)[-24:])
def test_words_that_give_labels_of_published_data_away(name: str, form: str, said: dict[str, Any]) -> None:
    """One does: reviews of a dairy were gathered by its name."""
    data = load(Data(train=SHARED / name, **said), FORMS[form])
    examples = [each for split in data.splits.values() for each in split]
    dairy = ("'蒙牛' stands in 2,028 texts of '蒙牛', in 1 other",) if "category" in str(said) else ()
    assert [each for found in telling_words("train", examples) for each in found.examples] == [*dairy]


def test_offsets_that_do_not_match_are_as_many_as_are_described() -> None:
    """5 of CMRC's 1,002 trial answers."""
    path = SHARED / "qa/zh/cmrc2018_trial.json"
    with pytest.raises(InputError, match=r"question \d+: id TRIAL_\d+_QUERY_\d+: the answer .* answer_start"):
        load(Data(train=path), FORMS["extract"])
    said = "\n".join(load(Data(train=path, mend=True), FORMS["extract"]).said)
    mended = [int(line.split(" × ")[0].split()[-1]) for line in said.splitlines() if " × answer" in line]
    assert sum(mended) == 5


def test_published_splits_are_read_together_and_looked_at() -> None:
    folder = SHARED / "ner/zh/weibo"
    data = load(
        Data(train=folder / "train.conll", dev=folder / "dev.conll", test=folder / "test.conll", mend=True),
        FORMS["tag"],
    )
    assert data.scheme == "BIO"
    assert len(data.labels) == 1 + 2 * 8 - 0
    tokens = {token for each in data.splits["test"] for token in each.tokens}
    assert not any(len(token) == 2 and token[1].isdigit() and "\u4e00" <= token[0] <= "\u9fff" for token in tokens)
    assert look(data.splits)


def test_inputs_alone() -> None:
    path = SHARED / "classification/zh/chnsenticorp/test.tsv"
    examples = load_inputs(path, Data(train=path), FORMS["classify"]).splits["test"]
    assert len(examples) == 1200
