"""Short names for everything that a recipe can choose: strings only, loaded when asked for.

To add an objective, an optimizer, a rule …: write one file, add one line here. A plug-in outside
the repository needs no line: ``use: my.module:Thing``.
"""

from __future__ import annotations

import importlib
from typing import Any

from danlu.errors import RecipeError, suggestion

PROPORTIONS = {
    "weights": "danlu.corpus.proportions:Weights",
    "temperature": "danlu.corpus.proportions:Temperature",
    "unimax": "danlu.corpus.proportions:UniMax",
}
"""What each period of a curriculum is one of, and ``mixture`` too, which may also be the curriculum itself."""

CATALOG: dict[str, dict[str, str]] = {
    "stage": {  # in the order in which ``danlu run`` runs them
        "clean": "danlu.clean.stage:Clean",
        "tokenizer": "danlu.tokenizers.stage:TrainTokenizer",
        "pack": "danlu.corpus.pack:Pack",
        "pretrain": "danlu.train.pretrain:Pretrain",
        "finetune": "danlu.tasks.finetune:Finetune",
        "study": "danlu.tasks.study:Study",
        "joint": "danlu.tasks.joint:Joint",
        "evaluate": "danlu.evaluate.stage:Evaluate",
        "export": "danlu.nn.hf.export:Export",
        "generate": "danlu.generate.stage:Generate",
    },
    "reader": {
        ".txt": "danlu.readers.plain:read_txt",
        ".text": "danlu.readers.plain:read_txt",
        ".md": "danlu.readers.markup:read_markdown",
        ".markdown": "danlu.readers.markup:read_markdown",
        ".html": "danlu.readers.markup:read_html",
        ".htm": "danlu.readers.markup:read_html",
        ".xhtml": "danlu.readers.markup:read_html",
        ".shtml": "danlu.readers.markup:read_html",
        ".jsonl": "danlu.readers.json_files:read_jsonl",
        ".ndjson": "danlu.readers.json_files:read_jsonl",
        ".json": "danlu.readers.json_files:read_json",
        ".csv": "danlu.readers.delimited:read_csv",
        ".tsv": "danlu.readers.delimited:read_tsv",
        ".parquet": "danlu.readers.tables:read_parquet",
        ".arrow": "danlu.readers.tables:read_arrow",
        ".feather": "danlu.readers.tables:read_arrow",
        ".warc": "danlu.readers.warc:read_warc",
        ".wet": "danlu.readers.warc:read_warc",
        ".pdf": "danlu.readers.pdf:read_pdf",
        ".docx": "danlu.readers.docx:read_docx",
        ".epub": "danlu.readers.epub:read_epub",
        ".zip": "danlu.readers.archives:read_zip",
        ".tar": "danlu.readers.archives:read_tar",
        ".tgz": "danlu.readers.archives:read_packed_tar",
        ".tzst": "danlu.readers.archives:read_packed_tar",
        ".tbz2": "danlu.readers.archives:read_packed_tar",
        ".txz": "danlu.readers.archives:read_packed_tar",
    },
    "packing": {
        ".gz": "danlu.readers.packed:gz",
        ".zst": "danlu.readers.packed:zst",
        ".bz2": "danlu.readers.packed:bz2_",
        ".xz": "danlu.readers.packed:xz",
        ".tgz": "danlu.readers.packed:tgz",
        ".tzst": "danlu.readers.packed:tzst",
        ".tbz2": "danlu.readers.packed:tbz2",
        ".txz": "danlu.readers.packed:txz",
    },
    "documents": {
        "whole": "danlu.text.cuts:Whole",
        "lines": "danlu.text.cuts:Lines",
        "paragraphs": "danlu.text.cuts:Paragraphs",
        "blocks": "danlu.text.cuts:Blocks",
        "separated": "danlu.text.cuts:Separated",
    },
    "rule": {
        "empty": "danlu.clean.rules:Empty",
        "language": "danlu.clean.language_rule:LanguageRule",
        "gopher_quality": "danlu.clean.gopher_quality:GopherQuality",
        "gopher_repetition": "danlu.clean.gopher_repetition:GopherRepetition",
        "c4": "danlu.clean.c4:C4",
        "fineweb": "danlu.clean.fineweb:FineWeb",
        "bad_words": "danlu.clean.bad_words:BadWords",
        "classifier": "danlu.clean.classifier:Classifier",
        "perplexity": "danlu.clean.perplexity:Perplexity",
        "private": "danlu.clean.private:Private",
        "decontaminate": "danlu.clean.decontaminate:Decontaminate",
    },
    "finder": {
        "entities": "danlu.tasks.entity_finder:EntityFinder",
    },
    "duplicates": {
        "exact": "danlu.clean.exact:Exact",
        "lines": "danlu.clean.lines:Lines",
        "minhash": "danlu.clean.minhash:MinHash",
        "substrings": "danlu.clean.substrings:Substrings",
    },
    "tokenizer": {
        "bpe": "danlu.tokenizers.bpe:BPE",
        "byte": "danlu.tokenizers.byte:Byte",
        "char": "danlu.tokenizers.char:Char",
        "wordpiece": "danlu.tokenizers.wordpiece:WordPiece",
        "unigram": "danlu.tokenizers.unigram:Unigram",
        "word": "danlu.tokenizers.word:Word",
        "folder": "danlu.tokenizers.given:Folder",
        "extend": "danlu.tokenizers.extend:Extend",
    },
    "split": {
        "hash": "danlu.corpus.split:HashSplit",
        "tail": "danlu.corpus.split:TailSplit",
    },
    "segmenter": {
        "jieba": "danlu.text.words:Jieba",
        "characters": "danlu.text.words:Characters",
    },
    "model": {
        "gpt": "danlu.nn.families.decoders:GPT",
        "llama": "danlu.nn.families.decoders:Llama",
        "qwen3": "danlu.nn.families.decoders:Qwen3",
        "qwen3_moe": "danlu.nn.families.decoders:Qwen3MoE",
        "mistral": "danlu.nn.families.decoders:Mistral",
        "gpt2": "danlu.nn.families.decoders:GPT2",
        "bert": "danlu.nn.families.encoders:Bert",
        "roberta": "danlu.nn.families.encoders:Roberta",
        "modernbert": "danlu.nn.families.encoders:ModernBert",
        "t5": "danlu.nn.families.encoder_decoders:T5",
        "bart": "danlu.nn.families.encoder_decoders:Bart",
        "folder": "danlu.nn.families.given:Folder",
    },
    "family": {  # by the model_type of a Hugging Face folder
        "bart": "danlu.nn.hf.bart:BART",
        "bert": "danlu.nn.hf.bert:BERT",
        "gpt2": "danlu.nn.hf.gpt2:GPT2",
        "llama": "danlu.nn.hf.llama:LLAMA",
        "mistral": "danlu.nn.hf.mistral:MISTRAL",
        "modernbert": "danlu.nn.hf.modernbert:MODERNBERT",
        "mt5": "danlu.nn.hf.t5:MT5",
        "nanochat": "danlu.nn.hf.nanochat:NANOCHAT",
        "qwen2": "danlu.nn.hf.qwen2:QWEN2",
        "qwen3": "danlu.nn.hf.qwen3:QWEN3",
        "qwen3_moe": "danlu.nn.hf.qwen3_moe:QWEN3_MOE",
        "roberta": "danlu.nn.hf.roberta:ROBERTA",
        "t5": "danlu.nn.hf.t5:T5",
    },
    "objective": {
        "clm": "danlu.objectives.clm:CausalLM",
        "mlm": "danlu.objectives.mlm:MaskedLM",
        "nsp": "danlu.objectives.pairs:NextSentence",
        "sop": "danlu.objectives.pairs:SentenceOrder",
        "prefix_lm": "danlu.objectives.prefix_lm:PrefixLM",
        "fim": "danlu.objectives.fim:FillInTheMiddle",
        "span_corruption": "danlu.objectives.span_corruption:SpanCorruption",
        "ul2": "danlu.objectives.ul2:UL2",
        "bart": "danlu.objectives.bart:BartDenoising",
        "seq2seq": "danlu.objectives.seq2seq:Seq2Seq",
        "distil": "danlu.objectives.distil:Distil",
        "multitask": "danlu.objectives.multitask:Multitask",
    },
    "task": {
        "classify": "danlu.tasks.classify:Classify",
        "pair": "danlu.tasks.classify:Pair",
        "multi_label": "danlu.tasks.multi_label:MultiLabel",
        "regress": "danlu.tasks.regress:Regress",
        "similarity": "danlu.tasks.regress:Similarity",
        "tag": "danlu.tasks.tag:Tag",
        "segment": "danlu.tasks.segment:Segment",
        "extract": "danlu.tasks.extract:Extract",
        "choice": "danlu.tasks.choose:Choose",
        "relate": "danlu.tasks.relate:Relate",
        "embed": "danlu.tasks.contrast:Embed",
        "embed_pairs": "danlu.tasks.graded:EmbedPairs",
        "chat": "danlu.tasks.chat:Chat",
        "seq2seq": "danlu.tasks.seq2seq:Seq2Seq",
        "keywords": "danlu.tasks.seq2seq:Keywords",
        "prefer": "danlu.tasks.prefer:Prefer",
        "feedback": "danlu.tasks.feedback:Feedback",
        "reward": "danlu.tasks.reward:Reward",
        "grpo": "danlu.tasks.grpo:GRPO",
    },
    "preference": {
        "dpo": "danlu.tasks.preference:DPO",
        "ipo": "danlu.tasks.preference:IPO",
        "simpo": "danlu.tasks.preference:SimPO",
        "orpo": "danlu.tasks.preference:ORPO",
    },
    "metric": {
        "bleu": "danlu.metrics.bleu:BLEU",
        "chrf": "danlu.metrics.bleu:ChrF",
        "rouge": "danlu.metrics.rouge:ROUGE",
        "keywords": "danlu.metrics.keywords:Keywords",
        "meteor": "danlu.metrics.meteor:METEOR",
        "bertscore": "danlu.tasks.bert_score:BERTScore",
    },
    "method": {
        "full": "danlu.tasks.methods:Full",
        "lora": "danlu.tasks.methods:LowRank",
        "bitfit": "danlu.tasks.methods:BitFit",
        "frozen": "danlu.tasks.methods:Frozen",
        "prompt": "danlu.tasks.virtual_methods:Prompt",
        "prefix": "danlu.tasks.virtual_methods:Prefix",
    },
    "study": {
        "seeds": "danlu.tasks.study_seeds:Seeds",
        "folds": "danlu.tasks.study_folds:Folds",
        "learning_curve": "danlu.tasks.study_curve:LearningCurve",
    },
    "masking": {
        "tokens": "danlu.objectives.masking:Tokens",
        "words": "danlu.objectives.masking:Words",
        "spans": "danlu.objectives.masking:Spans",
        "ngrams": "danlu.objectives.masking:NGrams",
        "phrases": "danlu.objectives.masking:Phrases",
    },
    "rows": {
        "stream": "danlu.corpus.reading:Stream",
        "packed": "danlu.corpus.reading:Packed",
        "padded": "danlu.corpus.reading:Padded",
        "bucketed": "danlu.corpus.reading:Bucketed",
        "quarters": "danlu.corpus.quarters:Quarters",
    },
    "proportions": PROPORTIONS,
    "mixture": {**PROPORTIONS, "curriculum": "danlu.corpus.curriculum:Curriculum"},
    "optimizer": {
        "adafactor": "danlu.optim.adafactor:Adafactor",
        "adagrad": "danlu.optim.adagrad:Adagrad",
        "adam": "danlu.optim.adam:Adam",
        "adamw": "danlu.optim.adamw:AdamW",
        "lion": "danlu.optim.lion:Lion",
        "muon": "danlu.optim.muon:Muon",
        "normuon": "danlu.optim.normuon:NorMuon",
        "rmsprop": "danlu.optim.rmsprop:RMSProp",
        "sgd": "danlu.optim.sgd:SGD",
        "soap": "danlu.optim.soap:SOAP",
    },
    "schedule": {
        "constant": "danlu.optim.schedules:Constant",
        "cosine": "danlu.optim.schedules:Cosine",
        "inverse_sqrt": "danlu.optim.schedules:InverseSqrt",
        "linear": "danlu.optim.schedules:Linear",
        "plateau": "danlu.optim.schedules:Plateau",
        "wsd": "danlu.optim.schedules:WarmupStableDecay",
    },
    "dropout_schedule": {
        "early": "danlu.train.dropout:EarlyDropout",
        "late": "danlu.train.dropout:LateDropout",
    },
    "clipping": {
        "adaptive": "danlu.optim.clipping:ClipAdaptive",
        "none": "danlu.optim.clipping:NoClipping",
        "norm": "danlu.optim.clipping:ClipNorm",
        "value": "danlu.optim.clipping:ClipValue",
    },
    "search": {
        "beam": "danlu.generate.beam:Beam",
        "contrastive": "danlu.generate.contrastive:Contrastive",
    },
    "measure": {
        "perplexity": "danlu.evaluate.perplexity:Perplexity",
        "objective": "danlu.evaluate.objective:OwnObjective",
        "forgetting": "danlu.evaluate.forgetting:Forgetting",
        "zero_shot": "danlu.evaluate.zero_shot:ZeroShot",
    },
    "suite": {
        "lambada": "danlu.suites.written:Lambada",
        "blimp": "danlu.suites.pairs:Blimp",
        "zhoblimp": "danlu.suites.pairs:ZhoBlimp",
        "copa": "danlu.suites.chosen:Copa",
        "piqa": "danlu.suites.chosen:Piqa",
        "arc": "danlu.suites.chosen:Arc",
        "boolq": "danlu.suites.chosen:BoolQ",
        "winogrande": "danlu.suites.chosen:WinoGrande",
        "cmmlu": "danlu.suites.exams:Cmmlu",
        "ceval": "danlu.suites.exams:CEval",
        "questions": "danlu.suites.chosen:Questions",
    },
}


def names(kind: str) -> list[str]:
    """The short names of one kind, in catalog order."""
    return list(CATALOG[kind])


def load(kind: str, name: str, *, key: str) -> Any:
    """The class or function called ``name``; ``module:Thing`` is imported as it stands.

    ``key`` is the recipe key that named it, for the error.
    """
    target = CATALOG[kind].get(name, name if ":" in name else "")
    if not target:
        raise RecipeError(f"{key}: unknown {kind} {name!r}{suggestion(name, CATALOG[kind])}")
    module_name, _, attribute = target.partition(":")
    if not attribute or not all(module_name.split(".")):
        raise RecipeError(f"{key} must be a name or module:Thing; got {name!r}{suggestion('', CATALOG[kind])}")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        if name in CATALOG[kind]:
            raise
        raise RecipeError(f"{key}: cannot import {name!r}: {error}") from error
