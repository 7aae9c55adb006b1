"""The sample that a plan measures is packed as the run will pack it."""

from __future__ import annotations

import json
from pathlib import Path

from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.train.plan import _pack_sample


def test_a_sample_has_the_tokens_and_marks_that_pack_writes(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    for number in range(20):
        text = f"To be, or not to be: that is question {number}. 生存还是毁灭。" * 5
        (tmp_path / "text" / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "lexicon.txt").write_text("生存还是毁灭\nor not to be\n", encoding="utf-8")
    (tmp_path / "r.yaml").write_text(
        f"run_dir: {tmp_path / 'run'}\nclean: {{sources: [{tmp_path / 'text'}]}}\ntokenizer: {{use: bpe}}\n"
        "pack: {split: {use: tail, fraction: 0.2}, marks: [words, phrases, sentences], "
        f"lexicon: {tmp_path / 'lexicon.txt'}}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(tmp_path / "r.yaml")
    run_stages(recipe, list(recipe.sections), lambda _: None, begin=lambda _: None)
    (tmp_path / "sample").mkdir()
    _pack_sample(recipe, tmp_path / "sample")
    packed = tmp_path / "run" / "pack" / "train"
    assert (packed / "marks-00000.bin").stat().st_size > 500
    sample = tmp_path / "sample" / "train"
    of_sources = {"lineage.json", "lineage.jsonl", "data_card.md"}  # which a sample does not tell
    listing = {"store.json", "hashes.bin"}
    for path in packed.iterdir():
        if path.name not in of_sources | listing:
            assert path.read_bytes() == (sample / path.name).read_bytes(), path.name
    assert (packed / "hashes.bin").read_bytes().startswith((sample / "hashes.bin").read_bytes())  # those come last
    wanted, found = (json.loads((each / "store.json").read_text()) for each in (packed, sample))
    wanted["files"] = {name: size for name, size in wanted["files"].items() if name not in of_sources}
    for name in ("hashes", "sha256"):
        del wanted[name], found[name]
    assert wanted == found
