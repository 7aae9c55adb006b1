"""Spaces before punctuation, against the clean-up of ``transformers``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.tokenizers.tidy import Tidy
from danlu.tokenizers.tokenizer import Tokenizer

pieces = st.lists(st.text(st.sampled_from(" .?!,'nmtsverx"), max_size=3), max_size=30)


@given(pieces)
def test_pieces_joined_are_what_transformers_makes_of_the_whole(texts: list[str]) -> None:
    tidy = Tidy()
    shown = "".join([*map(tidy.push, texts), tidy.flush()])
    assert shown == transformers.PreTrainedTokenizerBase.clean_up_tokenization(None, "".join(texts))


def test_it_is_done_where_the_config_says_so(kinds: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("WordPiece", "Unigram", "byte fallback"):
        folder = Path(shutil.copytree(kinds[kind], tmp_path / kind))
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "clean_up_tokenization_spaces": True}))
        ours, stock = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
        ids = stock("a do n't , why ? it 's", add_special_tokens=False).input_ids
        assert ours.decode(ids) == stock.decode(ids)
        stream = ours.spell()
        spelled = "".join([*map(stream.push, ids), stream.flush()])
        assert (spelled == ours.decode(ids)) == (kind == "byte fallback")  # transformers leaves BPE alone
