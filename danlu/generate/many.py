"""A file of prompts, and the file with the answers: one ``{"prompt", "text", "end", "tokens", "seed"}`` a line."""

from __future__ import annotations

import json
import time
from pathlib import Path

from danlu import log
from danlu.files import atomic_write, writing
from danlu.generate.engine import generate
from danlu.generate.prepare import load_ready
from danlu.generate.searching import find_answers
from danlu.generate.source import Source
from danlu.text.lists import check_new_file, read_list

PROMPTS_AT_ONCE = 32


def answer_file(source: Source, prompts: Path, out: Path) -> None:
    """Answer every prompt; the one in place ``i`` is drawn with the seed plus ``i``, or found by the source's search.

    Args:
        prompts: .txt, a prompt a line; .jsonl or a table with "prompt".
        out: a .jsonl file that is not there yet; it appears when all is done, or not at all.

    Raises:
        InputError: a prompt cannot be read, or a source text is too long for the model.
        OutputError: ``out`` is there already, or cannot be written.
    """
    texts = [line.text for line in read_list(prompts, default="prompt")]
    check_new_file(out, ".jsonl")
    batches = -(-len(texts) // PROMPTS_AT_ONCE)
    loaded, how = load_ready(source.folder, source.speed, tokens=batches * source.settings.max_tokens)
    model, tokenizer, special = loaded
    log.say(how)
    lines: list[str] = []
    tokens, began = 0, time.perf_counter()
    with log.progress("generate", len(texts), "prompts") as progress:
        for start in range(0, len(texts), PROMPTS_AT_ONCE):
            part, seed = texts[start : start + PROMPTS_AT_ONCE], source.seed + start
            if source.search is not None:
                answers = find_answers(loaded, source.search, part, settings=source.settings)
            else:
                answers = generate(model, tokenizer, part, settings=source.settings, seed=seed, special=special)
            for place, (prompt, answer) in enumerate(zip(part, answers, strict=True)):
                row = {"prompt": prompt, "text": answer.text, "end": answer.end, "tokens": answer.tokens}
                lines.append(json.dumps({**row, "seed": seed + place}, ensure_ascii=False) + "\n")
                tokens += answer.tokens
            progress.update(len(lines), tokens_per_second=tokens / (time.perf_counter() - began))
    with writing(out.parent):
        atomic_write(out, "".join(lines).encode())
    log.say(f"{out}: written")
