"""The stage pack in several processes: the bytes of one, also after a kill, and one thread a process."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from danlu.corpus import drafts, encoding, portions
from danlu.corpus.pack import Pack
from danlu.errors import CheckpointError, InputError
from danlu.recipe import Recipe, load_recipe
from danlu.runs import run_stages
from danlu.stage import Figures, Job
from danlu.text.document import Document, shard_path
from danlu.tokenizers.char import Char
from danlu.workers.processes import ProcessDiedError

SPLIT = """
import os, pathlib, signal
from danlu.corpus.split import HashSplit

class Watched(HashSplit):
    told: str
    dies: str = ""
    stops: str = ""
    times: int = 1

    def parts(self, document):
        told = pathlib.Path(self.told)
        with (told / str(os.getpid())).open("a") as file:
            file.write(document.id + " " + os.environ.get("TOKENIZERS_PARALLELISM", "unset") + "\\n")
        struck = len(list(told.glob("struck-*")))
        if document.id in (self.dies, self.stops) and struck < self.times:
            (told / f"struck-{struck}").touch()
            if document.id == self.stops:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGKILL)
        return super().parts(document)
"""


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "FEWEST_BYTES", 3000)
    monkeypatch.setattr(encoding, "BATCH", 7)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clean documents in shards of several sizes, a tokenizer, and a split that tells who asked it."""
    for name in ("clean", "tokenizer", "told"):
        (tmp_path / name).mkdir()
    texts = [f"number {n}, " * (n % 9) + f"第{n}回。" for n in range(240)]
    for number, (start, end) in enumerate([(0, 3), (3, 150), (150, 150), (150, 240)]):
        lines = [
            Document(f"d#{n}", texts[n], {"language": ("en", "zh", "und")[n % 3], "source": f"{n % 7}.txt"}).line()
            for n in range(start, end)
        ]
        shard_path(tmp_path / "clean", number).write_bytes(b"".join(lines))
    Char().train(texts).save(tmp_path / "tokenizer")
    (tmp_path / "watched_split.py").write_text(SPLIT)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def split(folder: Path, **more: Any) -> object:
    from watched_split import Watched  # type: ignore[import-not-found]

    return Watched(fraction=0.2, told=str(folder / "told"), **more)


def job(folder: Path, out: str) -> Job:
    (folder / out).mkdir(exist_ok=True)
    inputs = {name: folder / name for name in ("clean", "tokenizer")}
    return Job(Recipe("test", folder, 1, {}), inputs, folder / out)


def run(pack: Pack, work: Job) -> Figures:
    """Run the stage, to its end."""
    figures = pack.run(work)
    pack.tidy(work.out)
    return figures


def files(folder: Path) -> dict[str, bytes]:
    """All that is there, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(folder: Path) -> dict[int, dict[str, str]]:
    """By process, the documents that it had and what it said of the threads of the tokenizer; told anew after this."""
    found = {}
    for path in (folder / "told").glob("[0-9]*"):
        found[int(path.name)] = dict(line.split(" ") for line in path.read_text().splitlines())
        path.unlink()
    return found


def test_any_number_of_processes_writes_the_same_bytes(folder: Path) -> None:
    contents = []
    for number in (1, 2, 3):
        settings = {"split": split(folder), "marks": ("words", "sentences"), "workers": number}
        figures = run(Pack(**settings), job(folder, f"pack-{number}"))  # type: ignore[arg-type]
        contents.append((files(folder / f"pack-{number}"), figures))
        seen = told(folder)
        assert sorted(id for ids in seen.values() for id in ids) == sorted(f"d#{n}" for n in range(240))
        if number == 1:
            assert seen.keys() == {os.getpid()} and {*seen[os.getpid()].values()} == {"unset"}
        else:
            assert len(seen) <= number and os.getpid() not in seen
            assert {threads for ids in seen.values() for threads in ids.values()} == {"false"}
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0][0]) == 2 * 12
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    assert not multiprocessing.active_children()


def test_what_a_killed_process_was_at_is_done_by_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(Pack(split=split(folder), workers=1), job(folder, "whole"))  # type: ignore[arg-type]
    work = job(folder, "pack")
    run(Pack(split=split(folder, dies="d#120"), workers=2), work)  # type: ignore[arg-type]
    assert files(work.out) == files(folder / "whole")
    said = "pack: a process was killed, perhaps for want of memory, at documents-00001.jsonl, byte "
    assert said in capsys.readouterr().out


def test_what_kills_two_processes_is_one_line_and_the_next_run_goes_on(folder: Path) -> None:
    run(Pack(split=split(folder), workers=1), job(folder, "whole"))  # type: ignore[arg-type]
    pack = Pack(split=split(folder, dies="d#120", times=2), workers=2)  # type: ignore[arg-type]
    work = job(folder, "pack")
    with pytest.raises(ProcessDiedError, match=r"^pack: a process was killed, [^\n]*: choose fewer pack\.workers, or"):
        run(pack, work)
    assert not [path for path in files(work.out) if not path.startswith("drafts/")]
    told(folder)
    before = len(list((work.out / "drafts").glob("[0-9]*")))
    assert before and pack.progress(work.out) == f"{before} portions of the documents are encoded"
    run(pack, work)
    assert files(work.out) == files(folder / "whole")
    again = {id for ids in told(folder).values() for id in ids}
    assert "d#120" in again and len(again) < 240
    assert pack.progress(work.out) is None


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_stopped_run_goes_on_with_another_number(folder: Path, first: int, second: int) -> None:
    run(Pack(split=split(folder), workers=1), job(folder, "whole"))  # type: ignore[arg-type]
    work = job(folder, "pack")
    stopping = split(folder, times=first, **{"stops" if first == 1 else "dies": "d#200"})
    with pytest.raises(KeyboardInterrupt if first == 1 else ProcessDiedError):
        run(Pack(split=stopping, workers=first), work)  # type: ignore[arg-type]
    told(folder)
    run(Pack(split=stopping, workers=second), work)  # type: ignore[arg-type]
    assert files(work.out) == files(folder / "whole")
    assert "d#200" in {id for ids in told(folder).values() for id in ids}


def test_a_kill_between_the_passes_or_in_the_second_costs_no_encoding(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Pack(split=split(folder), workers=1), job(folder, "whole"))  # type: ignore[arg-type]
    work = job(folder, "pack")
    pack = Pack(split=split(folder), workers=1)  # type: ignore[arg-type]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("danlu.corpus.gathering.finish", stop)
        with pytest.raises(KeyboardInterrupt):
            run(pack, work)
    assert "train/tokens-00000.bin" in files(work.out) and "train/store.json" not in files(work.out)
    (work.out / "train" / ".tokens-00000.bin-0123").write_bytes(b"half")
    told(folder)
    run(pack, work)
    assert files(work.out) == files(folder / "whole") and not told(folder)


def test_drafts_of_other_settings_or_documents_are_made_again(folder: Path) -> None:
    work, stopping = job(folder, "pack"), split(folder, stops="d#200")
    for change in ("fraction", "documents"):
        (folder / "told/struck-0").unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            run(Pack(split=stopping, workers=1), work)  # type: ignore[arg-type]
        assert Pack().progress(work.out)
        told(folder)
        if change == "documents":
            shard = shard_path(folder / "clean", 1)
            shard.write_bytes(shard.read_bytes().replace(b"number 5,", b"number 6,"))
        fraction = 0.5 if change == "fraction" else 0.2
        other = stopping.model_copy(update={"fraction": fraction})  # type: ignore[attr-defined]
        run(Pack(split=other, workers=1), work)
        assert "d#5" in told(folder)[os.getpid()]
        run(Pack(split=other, workers=1), job(folder, f"whole-{change}"))
        assert files(work.out) == files(folder / f"whole-{change}")
        told(folder)


def test_a_shard_that_changes_meanwhile_is_refused(folder: Path) -> None:
    todo = portions.portions([shard_path(folder / "clean", number) for number in range(4)])
    (folder / "pack").mkdir()
    drafting = drafts.Drafting(folder / "tokenizer", Pack().split, (), Pack().marker, folder / "pack")
    made_from = drafting.made_from(todo[0])
    os.utime(todo[0].stretches[0].shard, (1, 1))
    name = todo[0].stretches[0].shard
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "")  # which the function sets
        make = drafting()
        with pytest.raises(InputError, match=rf"^pack: {name}[^\n]* are others there, or have changed since "):
            make((todo[0], made_from))
        name.unlink()
        with pytest.raises(InputError, match=r"found as pack began, cannot be read there: No such file or directory"):
            make((todo[0], made_from))


def test_a_half_done_pack_with_other_settings_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").mkdir()
    lines = [json.dumps({"text": f"number {n}, 第{n}回。" * 5}) for n in range(100)]
    (tmp_path / "text/a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"run_dir: {tmp_path}/run\nclean: {{sources: [{tmp_path}/text]}}\ntokenizer: {{use: char}}\n"
        f"pack: {{split: {{use: 'watched_split:Watched', fraction: 0.2, told: {folder}/told, stops: 'a.jsonl#90'}}}}\n",
        encoding="utf-8",
    )
    stages = ["clean", "tokenizer", "pack"]
    with pytest.raises(KeyboardInterrupt):
        run_stages(load_recipe(recipe), stages)
    with pytest.raises(CheckpointError, match=r"^pack is half done \(\d portions of the documents are encoded\), and "):
        run_stages(load_recipe(recipe, ["pack.split.fraction=0.5"]), stages)
    told(folder)
    run_stages(load_recipe(recipe, ["pack.workers=2"]), stages)  # which changes nothing
    assert "a.jsonl#0" not in {id for ids in told(folder).values() for id in ids}
    assert not (tmp_path / "run/previous").exists()
