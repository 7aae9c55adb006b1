"""What is said after an import: commands for what can be read, licences of what was named."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from tokenizers import models

from danlu.nn.hf.folder import load_config
from danlu.tasks.uses import summary, uses


def test_texts_are_embedded_with_a_tokenizer_that_can_be_read(encoder: Path) -> None:
    """A file of a known name is not enough."""
    config = load_config(encoder)
    assert [line.split()[:2] for line in uses(encoder, config)] == [["danlu", "embed"], ["danlu", "similar"]]
    (encoder / "tokenizer.json").rename(encoder / "sentencepiece.bpe.model")
    (line,) = uses(encoder, config)
    assert "  # no texts are embedded: no tokenizer in " in line
    (encoder / "vocab.json").write_text("{")
    (encoder / "merges.txt").write_text("")
    (line,) = uses(encoder, config)
    assert "  # no texts are embedded: " in line
    exec(line, {})


def test_a_decoder_with_a_vocab_json_writes(decoder: Path) -> None:
    inner = tokenizers.Tokenizer.from_file(str(decoder / "tokenizer.json"))
    assert isinstance(inner.model, models.BPE)
    inner.model.save(str(decoder))
    (decoder / "tokenizer.json").unlink()
    (decoder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|end|>"}')
    assert len(uses(decoder, load_config(decoder))) == 3


@pytest.mark.parametrize("named", ["folder", "folder/model.gguf"])
def test_a_licence_is_that_of_the_folder_which_was_named(
    named: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("LICENSE.txt", "COPYING", "model.gguf"):
        Path("folder", name).write_text("")
    rows = dict(summary(named, {"vocabulary": "200 tokens", "written to": str(encoder)}))
    assert rows.get("licence") == ("folder/COPYING, folder/LICENSE.txt" if named == "folder" else None)
    assert rows["width"] == "32"
    assert "licence" not in dict(summary("org/model", {"written to": str(encoder)}))
