from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from danlu.cli import main
from danlu.corpus.batches import collate
from danlu.corpus.rows import Widths
from danlu.data.chats import CHAT, Message
from danlu.data.chats import Chat as Conversation
from danlu.data.dataset import Data, load
from danlu.data.example import Place
from danlu.errors import InputError, RecipeError
from danlu.nn.hf.folder import load_model
from danlu.tasks.chat import Chat
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader
from danlu.tasks.transcript import Transcriber
from danlu.tokenizers.named_chats import TEMPLATES

QWEN_LIKE = """\
{%- for m in messages -%}
{{- m['role'] + ': ' + ('' if m['role'] == 'assistant' and not loop.last else '(thought)') + m['content'] -}}
{{- eos_token + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'assistant: ' -}}{%- endif -%}
"""
"""Of earlier answers it leaves something out."""


def _conversations() -> list[list[dict[str, str]]]:
    return [
        [{"role": "user", "content": f"{number} 你好?"}, {"role": "assistant", "content": f"Once {number}."}]
        + [{"role": "user", "content": "And then?"}, {"role": "assistant", "content": "There was 话说."}] * (number % 2)
        for number in range(8)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    lines = (json.dumps({"messages": each}, ensure_ascii=False) + "\n" for each in _conversations())
    path.write_text("".join(lines))
    return path


def _features(folder: Path, file: Path, task: Chat, max_tokens: int = 96) -> Any:
    examples = load(Data(train=file, dev=file), CHAT).splits["train"]
    return examples, task.features(examples, Known(), TextReader.load(folder, max_tokens=max_tokens))


def _labels(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """Token ids, and labels of -100 outside of answers and the tokens that end them, turn by turn."""
    ids: list[int] = []
    labels: list[int] = []
    for place, message in enumerate(messages):
        head = {"user": "### Instruction:\n", "assistant": "### Response:\n"}[message["role"]]
        answer = message["role"] == "assistant"
        before = tokenizer(head, add_special_tokens=False).input_ids
        said = tokenizer(message["content"] + ("<|end|>" if answer else "\n\n"), add_special_tokens=False).input_ids
        rest = tokenizer("\n\n", add_special_tokens=False).input_ids if answer and place < len(messages) - 1 else []
        ids += before + said + rest
        labels += [-100] * len(before) + (said if answer else [-100] * len(said)) + [-100] * len(rest)
    return ids, labels


def test_the_loss_is_that_of_transformers_with_labels_on_answers_only(decoder: Path, file: Path) -> None:
    task = Chat(template="plain")
    _, features = _features(decoder, file, task)
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    ours = load_model(decoder)
    batch = collate([[each.as_example() for each in features]], widths=Widths(sum(len(e.tokens) for e in features)))
    total = task.losses(ours, batch, Known())["words"]
    total.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        nats = [each[0].item() for each in task.numbers(ours, batch, Known())]
    wanted, scored = [], 0
    for messages in _conversations():
        ids, labels = _labels(tokenizer, messages)
        loss = theirs(torch.tensor([ids]), labels=torch.tensor([labels])).loss * sum(each != -100 for each in labels)
        loss.backward()
        wanted.append(loss.item())
        scored += sum(each != -100 for each in labels)
    assert batch.counts == {"words": scored}
    np.testing.assert_allclose(nats, wanted, rtol=1e-4)
    torch.testing.assert_close(float(total.detach()), sum(wanted), rtol=1e-5, atol=0)
    mine, at = ours.decoder.blocks[0].mlp.down.weight.grad, theirs.model.layers[0].mlp  # type: ignore[union-attr]
    torch.testing.assert_close(mine, at.down_proj.weight.grad, rtol=1e-3, atol=1e-4)


def test_a_server_renders_what_training_has_rendered(decoder: Path, file: Path) -> None:
    examples, features = _features(decoder, file, Chat(template="plain"))
    transcriber = Transcriber.load(decoder, "plain")
    for example, feature in zip(examples, features, strict=True):
        begun = transcriber.begin(example)
        targets = feature.targets["words"]
        answer = [int(token) for token in feature.tokens[len(begun) :]]
        assert feature.tokens[: len(begun)].tolist() == begun
        assert targets[len(begun) - 1 :].tolist() == [*answer, 0]  # <|end|> is token 0


def test_a_template_that_changes_what_was_said_is_told_and_answers_apart_mend_it(decoder: Path, file: Path) -> None:
    (decoder / "chat_template.jinja").write_text(QWEN_LIKE)
    with pytest.raises(RecipeError, match=r"chats.jsonl, line 2: the chat template .* renders the messages up to 2 "):
        _features(decoder, file, Chat())
    with pytest.raises(RecipeError, match="apart"):
        _features(decoder, file, Chat())


def test_apart_each_answer_is_what_a_server_was_asked_for(decoder: Path, file: Path) -> None:
    (decoder / "chat_template.jinja").write_text(QWEN_LIKE.replace("'(thought)'", "''").replace("''", "'~'", 1))
    source = (decoder / "chat_template.jinja").read_text()
    assert "'~'" in source  # only answers that are not the last have it
    transcriber = Transcriber.load(decoder, None)
    examples = load(Data(train=file, dev=file), CHAT).splits["train"]
    with pytest.raises(RecipeError, match="apart"):
        transcriber.read(examples, apart=False)
    found = transcriber.read(examples, apart=True)
    assert [len(each) for each in found] == [1, 2] * 4
    for transcripts in found:
        assert all(len(each.turns) == 1 for each in transcripts)


def _chat(*turns: str) -> Conversation:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[place % 2], text) for place, text in enumerate(turns))
    return Conversation(Place(Path("a.jsonl"), 1, "row"), messages)


def test_long_conversations_are_cut_between_turns(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chats = [_chat("a", "b", "c", "d" * 200), _chat("a" * 200, "b"), _chat("a", "b")]
    reader = TextReader.load(decoder, max_tokens=64)
    features = Chat(template="plain").features(chats, Known(), reader)
    assert [each.example for each in features] == [0, 2]
    assert features[0].tokens.tolist() == features[1].tokens.tolist()
    told = capsys.readouterr()
    assert "1 of 3 conversations cut behind the last answer within 64 tokens" in told.out + told.err
    assert "1 of 3 conversations left out: not even one answer ends within 64" in told.out + told.err
    assert [e.example for e in Chat(template="plain", too_long="leave_out").features(chats, Known(), reader)] == [2]
    with pytest.raises(InputError, match=r"a.jsonl, row 1: the conversation has .*; finetune.task.max_tokens is 64"):
        Chat(template="plain", too_long="refuse").features(chats, Known(), reader)


def test_an_answer_that_merges_with_the_prompt_is_left_out(decoder: Path) -> None:
    """A server would have read ``:\\n`` where training read ``:\\n\\n``, had the tokenizer such a token."""
    end = "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    template = f"{{% for m in messages %}}{{{{ m['content'] }}}}{end}{{% endfor %}}"
    (decoder / "chat_template.jinja").write_text(template)
    transcriber = Transcriber.load(decoder, None)
    merged, apart = _chat("the quest", "ion."), _chat("the quest", " that")
    lengths = [len(each.turns) for chat in (merged, apart) for each in transcriber.read([chat], apart=False)[0]]
    assert lengths == [0, 1]


@pytest.mark.parametrize("spelled", ["c['function']['arguments'] | tojson", "'' + c['function']['arguments']"])
def test_a_template_may_want_what_a_tool_is_called_with_as_an_object_or_as_text(spelled: str, decoder: Path) -> None:
    calls = f"{{% for c in m['tool_calls'] or [] %}}{{{{ {spelled} }}}}{{% endfor %}}"
    (decoder / "chat_template.jinja").write_text(
        f"{{% for m in messages %}}{{{{ m['content'] }}}}{calls}{{{{ eos_token }}}}{{% endfor %}}"
    )
    transcriber = Transcriber.load(decoder, None)
    call = json.dumps([{"type": "function", "function": {"name": "f", "arguments": {"x": "é"}}}])
    messages = (Message("user", "a"), Message("assistant", "", call))
    (ids,) = transcriber.whole([Conversation(Place(Path("a.jsonl"), 1, "row"), messages)])
    text = transcriber.tokenizer.decode(ids.tolist(), skip_special_tokens=True)
    assert text == 'a{"x": "é"}'


def test_an_answer_without_weight_is_read_and_not_learned(decoder: Path) -> None:
    whole, part = _chat("a", "b", "c", "d"), _chat("a", "b", "c", "d")
    first = dataclasses.replace(part.messages[1], learned=False)
    part = dataclasses.replace(part, messages=(part.messages[0], first, *part.messages[2:]))
    transcriber = Transcriber.load(decoder, "plain")
    ((both,), (last,)) = transcriber.read([whole, part], apart=False)
    assert both.tokens.tolist() == last.tokens.tolist()
    assert (len(both.turns), last.turns) == (2, both.turns[1:])


def test_special_tokens_that_somebody_spells_are_told(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = TextReader.load(decoder, max_tokens=64)
    Chat(template="plain").features([_chat("a", "b"), _chat("a<|end|>", "b")], Known(), reader)
    told = capsys.readouterr().out
    assert "1 of 2 conversations spell a special token, which is read as one, as by servers" in told
    assert "the first: a.jsonl, row 1, <|end|>" in told


def test_templates_without_an_end_are_refused(decoder: Path) -> None:
    with pytest.raises(RecipeError, match="ends an answer with no special token of this tokenizer"):
        Transcriber.load(decoder, "chatml")


def test_encoders_are_refused(encoder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, encoder, file) is None
    assert "needs a decoder with a language-model head; got bert" in capsys.readouterr().err


def _run(tmp_path: Path, folder: Path, file: Path, *more: str) -> Path | None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"run_dir: {tmp_path / 'run'}\n"
        f"finetune:\n  data: {{train: {file}, dev: {file}}}\n  model: {folder}\n"
        "  task: {use: chat, template: plain, answer_tokens: 8}\n  budget: {steps: 6}\n  batch: 4\n  precision: fp32\n"
        "  evaluations: 2\n"
    )
    return None if main(["finetune", str(recipe), *more]) else tmp_path / "run" / "finetune"


PLAIN = TEMPLATES["plain"]


def test_a_run_is_done_anew_when_the_file_of_the_template_changes(
    decoder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template, more = tmp_path / "mine.jinja", f"finetune.task.template={tmp_path / 'mine.jinja'}"
    assert _run(tmp_path, decoder, file, more) is None
    assert f"finetune.task: there is no file {template}" in capsys.readouterr().err
    template.write_text(PLAIN)
    for wanted in ("done in", "finetune: unchanged, skipped"):
        assert _run(tmp_path, decoder, file, more) is not None
        assert wanted in capsys.readouterr().out
    template.write_text(PLAIN.replace("### Response", "### Answer"))
    out = _run(tmp_path, decoder, file, more)
    said = capsys.readouterr().out
    assert out is not None and "finetune: the files that it reads changed" in said
    assert "### Answer" in (out / "model/chat_template.jinja").read_text()


def test_from_a_file_to_answers(
    decoder: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _run(tmp_path, decoder, file)
    assert out is not None
    scored = json.loads((out / "dev.json").read_text())["figures"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32)
    nats, tokens = 0.0, 0
    for messages in _conversations():
        ids, labels = _labels(tokenizer, messages)
        count = sum(each != -100 for each in labels)
        nats += theirs(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item() * count
        tokens += count
    assert scored["loss"] == pytest.approx(nats / tokens, rel=1e-4)
    assert scored["perplexity"] == pytest.approx(np.exp(nats / tokens), rel=1e-4)
    assert len((out / "dev.samples.jsonl").read_text().splitlines()) == 8

    monkeypatch.setattr("sys.stdin", io.StringIO("1 你好?\n"))
    capsys.readouterr()
    assert main(["generate", str(out / "model"), "--chat", "temperature=0", "max_tokens=8"]) == 0
    talked = capsys.readouterr().out.strip()

    asked = tmp_path / "asked.jsonl"
    asked.write_text(
        json.dumps({"messages": _conversations()[1][:1]})
        + "\n"
        + json.dumps({"messages": _conversations()[1][:3]})
        + "\n"
    )
    said_to = tmp_path / "said.jsonl"
    assert main(["predict", str(out / "model"), str(asked), "--out", str(said_to), "--dtype", "float32"]) == 0
    said = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert said[0]["prediction"] == talked  # at the terminal it is asked for what it has learned from
    for line, messages in zip(said, (_conversations()[1][:1], _conversations()[1][:3]), strict=True):
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        written = theirs.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert line["prediction"] == tokenizer.decode(written, skip_special_tokens=True).strip()
        assert line["texts"] == [each["content"] for each in messages]
