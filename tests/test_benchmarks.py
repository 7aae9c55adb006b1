"""The benchmark scripts start, say what they are for, and end in the line that was agreed; nothing is timed here."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).parent.parent / "benchmarks"
MODULES = {path.stem: path for path in FOLDER.glob("*.py")}
STARTED = {"clean_peer"}
"""Programs that a benchmark starts."""
SCRIPTS = sorted(
    name for name, path in MODULES.items() if "__main__" in path.read_text(encoding="utf-8") and name not in STARTED
)

Load = Callable[[str], ModuleType]

positive = st.floats(min_value=1e-3, max_value=1e9)
rounds = st.lists(st.tuples(positive, positive), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def report(load_benchmark: Load) -> ModuleType:
    return load_benchmark("report")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_is_claimed_and_loads_no_torch(script: str) -> None:
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(FOLDER)!r}); sys.argv = ['{script}.py', '--help']\n"
        f"try: runpy.run_path({str(MODULES[script])!r}, run_name='__main__')\n"
        "except SystemExit as end: sys.exit(end.code or 3 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"usage: {script}.py" in done.stdout
    assert (ast.get_docstring(ast.parse(MODULES[script].read_text(encoding="utf-8"))) or "no docstring") in done.stdout


def test_the_list_of_benchmarks_is_complete() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)\.py`", text, flags=re.MULTILINE)
    assert sorted(listed) == SCRIPTS
    assert SCRIPTS == [
        "attention", "bert_books", "blocks", "clean", "clean_engines", "clean_memory", "cross_entropy", "finetune",
        "forgetting", "forward_cpu", "generate_cpu", "gpu", "int8", "kernels", "long_document", "mlm_cpu", "packing",
        "plan", "pretrain_cpu", "private", "private_names", "processes", "products", "scale", "shakespeare", "start",
        "t5_cpu", "task_recipes", "tokenizer_training",
    ]  # fmt: skip


@given(rounds)
def test_the_last_line_is_a_list_of_claims(report: ModuleType, measured: list[tuple[float, float]]) -> None:
    ours, peer = ([pair[side] for pair in measured] for side in (0, 1))
    line = report.last_line([report.compare("speed: ours / theirs", ours, peer, unit="tokens/s")])
    assert "\n" not in line
    [claim] = json.loads(line)
    assert list(claim) == ["benchmark", "ours", "peer", "unit", "ratio", "spread"]
    assert claim["benchmark"] == "speed: ours / theirs" and claim["unit"] == "tokens/s"
    least, greatest = claim["spread"]
    assert least <= claim["ratio"] <= greatest
    ratios = sorted(mine / theirs for mine, theirs in measured)
    assert least == pytest.approx(ratios[0], rel=1e-3) and greatest == pytest.approx(ratios[-1], rel=1e-3)


def test_a_ratio_is_the_median_over_rounds_and_not_that_of_medians(report: ModuleType) -> None:
    comparison = report.compare("x", [10.0, 20.0, 90.0], [10.0, 40.0, 30.0], unit="s")
    assert (comparison.ours, comparison.peer) == (20.0, 30.0)
    assert comparison.ratio == 1.0 and comparison.spread == (0.5, 3.0)


@pytest.mark.parametrize(
    ("ours", "peer"),
    [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [0.0]), ([math.nan], [1.0]), ([1.0], [math.inf])],
)
def test_what_is_no_measurement_is_refused(report: ModuleType, ours: list[float], peer: list[float]) -> None:
    with pytest.raises(report.NotMeasuredError, match="speed"):
        report.compare("speed", ours, peer, unit="tokens/s")


def test_a_benchmark_that_could_not_measure_ends_with_1(report: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> list[object]:
        raise report.NotMeasuredError("the peer is not installed")

    for measure, why in ((fail, "the peer is not installed"), (list, "no comparison")):
        assert report.run_benchmark(measure) == 1
        said = capsys.readouterr()
        assert said.out == "" and why in said.err
    comparison = report.compare("x", [1.0], [2.0], unit="s")
    assert report.run_benchmark(lambda: [comparison]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0]["ratio"] == 0.5
    with pytest.raises(ZeroDivisionError):  # a bug keeps its traceback
        report.run_benchmark(lambda: 1 // 0)


def test_a_plot_draws_every_curve_between_its_extremes(report: ModuleType) -> None:
    plot = report.text_plot({"a": [4.0, 3.0, 2.0], "b": [4.0, 2.0, 1.0]}, width=21, height=7).splitlines()
    rows = [line.split("|")[1].ljust(21) for line in plot[:7]]
    assert plot[0].startswith("   4.00 |") and plot[6].startswith("   1.00 |")
    assert rows[0][0] == "●" and rows[4][20] == "●" and rows[2][10] == "●"
    assert rows[4][10] == "○" and rows[6][20] == "○"
    assert sum(row.count("○") for row in rows) == 2  # the first point is shared, and the first curve is in front
    assert plot[-2:] == ["        ● a", "        ○ b"]


def test_a_constant_curve_can_be_drawn(report: ModuleType) -> None:
    assert "●" in report.text_plot({"a": [2.0]})


def test_columns_are_aligned(report: ModuleType) -> None:
    lines = report.table([["side", "tokens/s"], ["a", "1,000"], ["longer", "2"]]).splitlines()
    assert lines == ["side    tokens/s", "------  --------", "a          1,000", "longer         2"]


def test_a_process_of_its_own_has_its_own_id_and_peak_memory(
    load_benchmark: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = load_benchmark("process")
    for name in process.OFFLINE:
        monkeypatch.setenv(name, "")
    pid, small = process.in_fresh_process(os.getpid)
    assert pid != os.getpid()
    length, large = process.in_fresh_process(eval, "len(bytearray(300_000_000))")
    assert length == 300_000_000
    assert small < 300e6 < large < 700e6
    assert process.in_fresh_process(eval, "'torch' in __import__('sys').modules")[0] is False


def test_a_process_that_fails_or_dies_is_no_measurement(
    load_benchmark: Load, report: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = load_benchmark("process")
    for name in process.OFFLINE:
        monkeypatch.setenv(name, "")
    with pytest.raises(report.NotMeasuredError, match="ValueError"):
        process.in_fresh_process(math.sqrt, -1.0)
    with pytest.raises(report.NotMeasuredError, match="killed"):
        process.in_fresh_process(os.abort)


def test_a_process_may_see_gpus_after_one_that_may_not(load_benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    process = load_benchmark("process")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert process.in_fresh_process(os.getenv, "CUDA_VISIBLE_DEVICES")[0] == ""
    assert process.in_fresh_process_with_gpu(os.getenv, "CUDA_VISIBLE_DEVICES")[0] == "3"
    assert process.in_fresh_process_with_gpu(os.getenv, "HF_HUB_OFFLINE")[0] == "1"
    assert "HF_HUB_OFFLINE" not in os.environ


def test_what_a_process_raises_is_told_though_it_cannot_be_sent(load_benchmark: Load, report: ModuleType) -> None:
    """As the errors of torch's compiler, which are made of more than their message."""
    process = load_benchmark("process")
    code = "exec('class E(Exception):\\n def __init__(self, a, b): super().__init__(a)') or exec('raise E(1, 2)')"
    with pytest.raises(report.NotMeasuredError, match="E: 1") as caught:
        process.in_fresh_process(eval, code)
    assert "Traceback" in str(caught.value.__cause__)


def test_ours_is_compared_with_each_peer(load_benchmark: Load) -> None:
    module = load_benchmark("pretrain_cpu")
    outcome = load_benchmark("pretrain_sides").Outcome([1.0], [], 1, 1, "")
    speeds = {module.ADAMW: 300.0, module.MUON: 200.0, module.DEFAULTS: 100.0, module.TUNED: 150.0}
    results = {name: [module.Round(outcome, speed, int(speed * 1e6))] for name, speed in speeds.items()}
    comparisons = module.compare_sides(results)
    assert [(c.unit, c.ratio) for c in comparisons] == [
        ("tokens/s", 3.0), ("tokens/s", 2.0), ("MB", 3.0), ("tokens/s", 2.0), ("tokens/s", 1.333), ("MB", 2.0),
    ]  # fmt: skip
    module.say_targets(comparisons)  # knows a target for each


JUDGED = [("time", 1.29, True), ("time", 0.69, False), ("peak memory", 0.81, True), ("peak memory", 1.21, False)]


@pytest.mark.parametrize(("what", "ratio", "holds"), JUDGED)
def test_a_plan_is_judged_on_both_sides(load_benchmark: Load, what: str, ratio: float, holds: bool) -> None:
    assert load_benchmark("plan").judge(what, ratio).startswith("within" if holds else "MISSED")


def test_the_recipes_that_are_planned_are_valid(load_benchmark: Load, tmp_path: Path) -> None:
    from danlu.recipe import load_recipe

    for name, text in load_benchmark("plan").RECIPES.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        assert "pretrain" in load_recipe(tmp_path / f"{name}.yaml").sections


def test_blocks_are_of_equal_size(load_benchmark: Load) -> None:
    from danlu.train.plan import parameters_by_part

    blocks = load_benchmark("blocks")
    configs = [blocks.family(name).config(vocab_size=blocks.VOCAB, max_length=8) for name in blocks.BLOCKS]
    assert len({config.family for config in configs}) == len(blocks.BLOCKS)
    sizes = [sum(parameters_by_part(config).values()) for config in configs]
    assert max(sizes) < 1.01 * min(sizes)
    shapes = [(config.dim, [layer.attention.heads for layer in config.stack.layers], config.tied) for config in configs]
    assert shapes[1:] == shapes[:-1]


def test_all_sides_do_the_same_rows_in_the_same_order(load_benchmark: Load, tmp_path: Path) -> None:
    from danlu.corpus.store import TokenStore
    from danlu.corpus.store_writer import StoreWriter
    from danlu.corpus.stream import StreamRows
    from danlu.text.document import Document

    writer = StoreWriter(tmp_path, vocab_size=100, eot=0)
    for number in range(3):
        writer.add(Document(str(number), "x", {}), range(1, 40 + number))
    writer.close()
    sides = load_benchmark("pretrain_sides")
    work = sides.Work(tmp_path, steps=4, sequence=16, batch=2)
    rows = StreamRows(TokenStore.open(tmp_path), 16, sides.SEED)
    short = 0
    for number, example in enumerate(sides._examples(work)):
        tokens = [token for piece in rows[number] for token in piece.tokens[:-1].tolist()]
        short += len(tokens) < 16
        assert example["input_ids"].tolist() == tokens + [0] * (16 - len(tokens))
        assert example["labels"].tolist() == tokens + [-100] * (16 - len(tokens))
    assert number == 7 and short


def test_no_process_is_left_behind_to_be_measured_with_what_comes_next() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r}); from process import in_fresh_process\n"
        "in_fresh_process(eval, \"__import__('os').write(1, b'begun') and __import__('time').sleep(60)\")"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None and parent.stdout.read(5) == b"begun"
        parent.kill()
        parent.communicate(timeout=30)  # the pipe ends when nobody holds it any more


def test_chats_are_what_alpaca_means_and_the_same_are_held_out_each_time(load_benchmark: Load, tmp_path: Path) -> None:
    from danlu.data.chats import CHAT
    from danlu.data.dataset import Data
    from danlu.data.dataset import load as load_data

    module = load_benchmark("finetune_chat")
    languages = [[{"instruction": f"Do {name} {number}.", "input": "it" * (number % 2), "output": f"{name}{number}"}
                  for number in range(10)] for name in ("en", "zh")]  # fmt: skip
    for name, rows in zip(module.FILES, languages, strict=True):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(json.dumps(rows))
    job = module.Job(tmp_path, tmp_path / "train.jsonl", tmp_path / "held.jsonl", tmp_path, 0, tmp_path)
    parts = []
    for _ in range(2):
        module.write_conversations(tmp_path, job, held=6)
        parts.append([module.read_conversations(path) for path in (job.train, job.held)])
    assert parts[0] == parts[1] and [len(part) for part in parts[0]] == [14, 6]
    assert {chat[-1]["content"][:2] for chat in parts[0][1]} == {"en", "zh"}

    both = tmp_path / "both.json"
    both.write_text(json.dumps([*languages[0], *languages[1]]))
    wanted = load_data(Data(train=both, dev=both), CHAT).splits["dev"]
    found = [*parts[0][0], *parts[0][1]]
    assert sorted(map(str, found)) == sorted(str([each.as_openai() for each in chat.messages]) for chat in wanted)
    assert module._conversations(job) == 14


def test_chat_tuning_is_judged_against_the_peer_as_it_comes(
    load_benchmark: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load_benchmark("finetune_chat")
    sides = {
        "Danlu": [module.Measured(9, 400.0, 900.0, 1.5)],
        "trl": [module.Measured(9, 100.0, 1000.0, 1.5)],
        "trl, tuned": [module.Measured(9, 300.0, 3000.0, 1.4)],
    }
    found = module.compare_sides(sides)
    assert [each.ratio for each in found] == [4.0, 0.9, 1.0, 1.333, 0.3, 1.071]
    verdicts = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wanted")]
    assert [line.rpartition(" ")[2] for line in verdicts] == ["met", "MISSED", "met"]
    del sides["trl, tuned"]  # which was killed
    assert [each.ratio for each in module.compare_sides(sides)] == [4.0, 0.9, 1.0]


def test_a_tuned_peer_that_is_killed_is_left_out(
    load_benchmark: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the training of the others is not lost; the target is about the two that are wanted."""
    module = load_benchmark("finetune_chat")
    job = module.Job(tmp_path, tmp_path, tmp_path, tmp_path, 3, tmp_path / "kept")

    def measured(job: object, seed: int, side: str) -> object:
        if side == killed:
            raise module.NotMeasuredError("the process of trainer was killed")
        return module.Measured(9, 100.0, 900.0, 1.5)

    monkeypatch.setattr(module, "measured", measured)
    killed = "trl, tuned"
    assert {side: len(found) for side, found in module.all_sides(job, (1, 2)).items()} == {"Danlu": 2, "trl": 2}
    assert "seed 1, trl, tuned: the process of trainer was killed; it is left out" in capsys.readouterr().out
    killed = "trl"
    assert len(module.all_sides(job, (1, 2))["trl"]) == 2  # as kept
    with pytest.raises(module.NotMeasuredError):
        module.all_sides(module.Job(tmp_path, tmp_path, tmp_path, tmp_path, 3, tmp_path / "anew"), (1, 2))


def test_translations_are_judged_against_the_better_peer(
    load_benchmark: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import sacrebleu

    module = load_benchmark("finetune_multi30k")
    golds = [f"Ein Hund läuft über die Wiese {number} ." for number in range(6)]
    (tmp_path / "test2016.tsv").write_text("".join(f"a dog {number}\t{gold}\n" for number, gold in enumerate(golds)))
    job = module.Job(tmp_path, tmp_path, 1.0, ["defaults", "tuned"])
    assert module.pairs(job, "test") == ([f"a dog {number}" for number in range(6)], golds)
    half = [gold.replace("Wiese", "Straße") for gold in golds]
    found = {"Danlu": golds, "defaults": half, "tuned": ["Eine Katze ."] * 6}
    sides = {name: module.Trained(60.0, 10, 0.5, texts) for name, texts in found.items()}
    [claim] = module.say_results(job, {1: sides, 2: sides})
    said = capsys.readouterr().out
    assert "seed 2: Danlu - Seq2SeqTrainer, defaults: +" in said and said.rstrip().endswith("at least +5: met")
    assert claim.ours == 100.0
    assert claim.peer == pytest.approx(sacrebleu.corpus_bleu(half, [golds]).score, rel=1e-3)
    worse = {**sides, "Danlu": sides["defaults"]}
    module.say_results(job, {1: worse, 2: worse, 3: sides})
    assert capsys.readouterr().out.rstrip().endswith("met")
    module.say_results(job, {1: worse})
    assert capsys.readouterr().out.rstrip().endswith("MISSED")
    one = module.Job(tmp_path, tmp_path, 1.0, ["defaults"])
    module.say_results(one, {1: {name: sides[name] for name in ("Danlu", "defaults")}})
    assert capsys.readouterr().out.rstrip().endswith("not told: it is about the better peer")


def test_a_translation_that_is_done_is_not_done_again(
    load_benchmark: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load_benchmark("finetune_multi30k")
    (tmp_path / "test2016.tsv").write_text("a dog\tEin Hund läuft weg\n" * 3)
    done: list[tuple[str, int]] = []

    def in_fresh_process(function: object, *arguments: object) -> tuple[object, int]:
        if function is module.draw:
            return 1, 0
        if function in (module.danlu, module.trainer):
            assert isinstance(arguments[0], module.Job)
            done.append((function.__name__, arguments[0].seed))
            if done[-1] == killed:
                raise KeyboardInterrupt
            return module.Trained(60.0, 10, 0.5), 0
        return ["Ein Hund läuft weg"] * 3, 0

    monkeypatch.setattr(module, "in_fresh_process", in_fresh_process)
    job = module.Job(tmp_path, tmp_path / "work", 1.0, ["defaults"])
    for seed in (1, 2):
        (job.out / f"seed-{seed}").mkdir(parents=True)
    killed = ("trainer", 1)
    with pytest.raises(KeyboardInterrupt):
        module.measure(job, seeds=(1, 2))
    killed = ("", 0)
    module.measure(job, seeds=(1, 2))
    assert done == [("danlu", 1), ("trainer", 1), ("trainer", 1), ("danlu", 2), ("trainer", 2)]
    assert "Danlu, seed 1: as measured before" in capsys.readouterr().out


def test_entities_of_words_are_those_of_their_characters(load_benchmark: Load, tmp_path: Path) -> None:
    module = load_benchmark("finetune_own_bert")
    words = tmp_path / "words.iob2"
    words.write_text(
        "# text = 王小明在天津\n1\t王小明\tB-PER\t-\t-\n2\t在\tO\t-\t-\n\n1\t天津\tB-LOC\t-\t-\n2\t市\tI-LOC\t-\t-\n"
    )
    out = module.characters(words, tmp_path / "characters.conll")
    assert out.read_text() == "王\tB-PER\n小\tI-PER\n明\tI-PER\n在\tO\n\n天\tB-LOC\n津\tI-LOC\n市\tI-LOC"


def test_answers_are_found_as_the_example_finds_them(load_benchmark: Load) -> None:
    import numpy as np

    from danlu.data.extracted import Answer

    module = load_benchmark("own_bert_trainer")
    offsets = [None, None, (3, 4), (4, 6), (6, 7), None]
    assert module._place_of(Answer("x" * 3, 4), offsets) == (3, 4)
    assert module._place_of(Answer("x", 2), offsets) == (0, 0)  # begins before the window
    assert module._place_of(Answer("x" * 2, 6), offsets) == (0, 0)  # ends behind it
    starts, ends = np.array([9.0, 9, 1, 2, 0, 9]), np.array([9.0, 9, 3, 1, 1, 9])
    assert module._best_part((starts, ends), offsets, "abcdefgh") == (4.0, "d")
    assert module._best_part((starts[:2], ends[:2]), offsets[:2], "abcdefgh") == (-np.inf, "")
