"""The command line: ``danlu VERB RECIPE [key=value ...]``.

Every import of a room stands inside the verb that needs it, so that ``danlu --help`` answers at
once. Errors that a user can mend end in one line on standard error; bugs keep their traceback.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from danlu import __version__
from danlu.errors import DanluError, InputError, Interrupted
from danlu.evaluate.commands import compare
from danlu.evaluate.tokenizer_commands import choose_size, compare_tokenizers
from danlu.help import Helping
from danlu.log import harmless, said, say
from danlu.parallel.absence import excused
from danlu.parallel.world import read_world, speaks
from danlu.rate.command import rate
from danlu.serve.command import serve
from danlu.tasks.commands import embed, predict, similar
from danlu.trace.command import trace
from danlu.verify.commands import verify

if TYPE_CHECKING:
    from danlu.recipe import Recipe
    from danlu.run_folder import Changed, RunFolder

STAGE_VERBS = {
    "clean": "Read raw files, normalise them, drop what is empty or repeated.",
    "tokenizer": "Train the tokenizer and measure what it costs in each language.",
    "pack": "Turn documents into a token store, split into training and held-out.",
    "pretrain": "Train the model; run it again to go on where it was stopped.",
    "finetune": "Train a pretrained model for a task, from a file of examples; run again, it goes on.",
    "study": "Fine-tune several times, by seeds, folds or parts of the data: how sure the figures are.",
    "joint": "Train one pretrained model for several tasks at once, with a head for each.",
    "evaluate": """Measure the model on held-out documents; with --suite, a model folder on files of questions.

    With a folder, KEY=VALUE are seed, device, precision, batch_tokens, and settings of suites such as cmmlu.shots=5.

    Parameters
    ----------
    suite
        A file of questions as SUITE=FILE, or FILE where its name begins with the suite's; may be given several times.
    out
        The folder that figures, and a line for each question, go to; it must be new or empty.
    limit
        Only the first so many questions, of each paradigm or subject where there are several.
    """,
    "export": "Write the trained model as a folder that stock transformers loads, and generate.",
}
"""The verbs that run one stage, and what --help says; generate has flags of its own."""

RecipeFile = Annotated[Path, Parameter(name="RECIPE", help="The recipe, a YAML file.")]
Override = Annotated[
    str, Parameter(name="KEY=VALUE", help="Settings that differ from the recipe, such as seed=2; values are YAML.")
]

RecipeOrFolder = Annotated[
    Path, Parameter(name="RECIPE_OR_FOLDER", help="The recipe, a YAML file; or a model folder, with config.json.")
]
WhereChanged = Annotated[
    Literal["restart", "go-on"] | None,
    Parameter(help="Begin a half-done training anew, or go on, where its settings or inputs changed; else refused."),
]
Ray = Annotated[
    str | None, Parameter(help='Run on the workers of a Ray cluster: its address, "auto", or "local" for a new one.')
]
Workers = Annotated[int | None, Parameter(help="How many workers of Ray train; by default as hardware.mesh says.")]
SECONDS_TO_SPEAK = 5.0
"""Of many processes with the same error one shows it; the others leave it so much time."""
LONGEST_ERROR = 2000
"""Characters of an error that are shown."""
Flag = Annotated[bool, Parameter(negative=())]
Dtype = Literal["float32", "bfloat16", "float16"]

app = Helping(
    name="danlu",
    help="From a folder of text to a language model that people can trust and serve.",
    version=__version__,
    help_format="plaintext",  # rich's Markdown would cost a third of the time that --help takes
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code."""
    if "RANK" in os.environ or "SLURM_STEP_ID" in os.environ:
        # Before torch is loaded: when a rank is lost, the connections of all others fail, and torch tells of each.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        app(None if arguments is None else list(arguments), exit_on_error=False, print_error=False)
        said()
    except CycloptsError as error:
        return _leave(f"error: {error} (danlu --help lists what there is)", 2)
    except KeyboardInterrupt:
        return _leave("stopped by Ctrl-C", 130)
    except DanluError as error:
        return _leave(str(error) if isinstance(error, Interrupted) else f"error: {error}", error.exit_code)
    except BrokenPipeError:  # whoever read our output has seen enough: danlu schema | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def _leave(message: str, exit_code: int) -> int:
    line = " ".join(harmless(message).split())  # it may quote a file of anybody's
    shown = line if len(line) <= LONGEST_ERROR else line[:LONGEST_ERROR] + "…"
    if speaks(os.environ):
        print(f"danlu: {shown}", file=sys.stderr, flush=True)
    else:
        time.sleep(SECONDS_TO_SPEAK)  # a launcher ends all processes when the first has failed
    return exit_code


@app.command(sort_key=(1,))
def run(
    recipe: RecipeFile, /, *overrides: Override, changed: WhereChanged = None, ray: Ray = None, workers: Workers = None
) -> None:
    """Run every stage that the recipe has, in order; those that are done and unchanged are skipped."""
    from danlu.evaluate import results

    loaded = _load(recipe, overrides, ray)
    folder = _run_stages(loaded, list(loaded.sections), changed or "refuse", ray=ray, workers=workers)
    if not speaks(os.environ):
        return
    report = _write_report(folder, loaded)
    results.show(folder, loaded)
    say(f"report: {report}")


def _stage_verb(stage: str) -> Callable[..., None]:
    def verb(recipe: RecipeFile, /, *overrides: Override, changed: WhereChanged = None) -> None:
        _run_stages(_load(recipe, overrides), [stage], changed or "refuse")

    verb.__doc__ = STAGE_VERBS[stage]
    return verb


def _pretrain(
    recipe: RecipeFile, /, *overrides: Override, changed: WhereChanged = None, ray: Ray = None, workers: Workers = None
) -> None:
    _run_stages(_load(recipe, overrides), ["pretrain"], changed or "refuse", ray=ray, workers=workers)


def _shared_verb(stage: str) -> Callable[..., None]:
    def verb(recipe: RecipeFile, /, *overrides: Override, changed: WhereChanged = None, ray: Ray = None) -> None:
        _run_stages(_load(recipe, overrides, ray), [stage], changed or "refuse", ray=ray)

    return verb


def _evaluate(
    recipe_or_folder: RecipeOrFolder,
    /,
    *overrides: Override,
    suite: Annotated[list[str] | None, Parameter(negative=())] = None,
    out: Path | None = None,
    limit: int | None = None,
    changed: WhereChanged = None,
) -> None:
    if not _is_model_folder(recipe_or_folder):
        if suite or out is not None or limit is not None:
            task = "evaluate.tasks: [{use: zero_shot, suite: NAME, file: FILE}]"
            raise InputError(f"--suite, --out and --limit are for a model folder; a recipe has {task}")
        _run_stages(_load(recipe_or_folder, overrides), ["evaluate"], changed or "refuse")
        return
    if not suite or out is None:
        raise InputError("a model folder has no measures of its own: --suite FILE and --out FOLDER, both")
    from danlu.evaluate.question_files import ask_files

    ask_files(recipe_or_folder, suite, overrides, out=out, limit=limit)


_WITH_FLAGS = {name: _shared_verb(name) for name in ("clean", "pack")} | {"pretrain": _pretrain, "evaluate": _evaluate}
for _name, _verb in _WITH_FLAGS.items():
    _verb.__doc__ = STAGE_VERBS[_name]
for _place, _name in enumerate(STAGE_VERBS):
    if _name == "tokenizer":  # a verb with verbs of its own; without one it is the stage
        _tokenizer = App(name=_name, help=STAGE_VERBS[_name], sort_key=(3, _place), default_command=_stage_verb(_name))
        _tokenizer.command(compare_tokenizers, name="compare")
        _tokenizer.command(choose_size, name="sizes")
        app.command(_tokenizer)
        continue
    app.command(_WITH_FLAGS.get(_name) or _stage_verb(_name), name=_name, sort_key=(3, _place))


@app.command(sort_key=(4,))
def generate(
    recipe_or_folder: RecipeOrFolder,
    /,
    *overrides: Override,
    prompt: str | None = None,
    chat: Flag = False,
    prompts: Path | None = None,
    out: Path | None = None,
) -> None:
    """Write text with a model: that of a recipe, or that of a folder, which danlu import or others have written.

    A recipe alone gives the recipe's samples. With a folder, KEY=VALUE are the settings of generate.sampling and
    seed, such as temperature=0.7 max_tokens=200 seed=1, or search=beam search.beams=4; what is not set is as its
    generation_config.json says.

    Parameters
    ----------
    prompt
        Continue this text and end; a model with an encoder (T5, BART) answers it.
    chat
        Read lines from the terminal and continue the conversation, until end of file.
    prompts
        Answer every prompt of this file: .txt (one a line), .jsonl or .csv (with "prompt").
    out
        Where the answers to --prompts go: a .jsonl file.
    """
    _check_asked(prompt=prompt, chat=chat, prompts=prompts, out=out)
    folder = _is_model_folder(recipe_or_folder)
    if prompt is None and not chat and prompts is None:
        if folder:
            raise InputError("a model folder has no prompts of its own: --prompt TEXT, --chat or --prompts FILE")
        from danlu.evaluate.results import show_samples

        show_samples(_run_stages(_load(recipe_or_folder, overrides), ["generate"]))
        return
    from danlu.generate import source

    recipe = None if folder else _load(recipe_or_folder, overrides)
    asked = source.of_folder(recipe_or_folder, overrides) if recipe is None else source.of_recipe(recipe)
    if asked.unused:
        file = asked.folder / source.FILE
        print(f"{file}: what counts for nothing here: {', '.join(asked.unused)}", file=sys.stderr)
    if prompts is not None and out is not None:
        from danlu.generate.many import answer_file

        answer_file(asked, prompts, out)
        return
    from danlu.generate import interactive

    interactive.main(asked, prompt=prompt, chat=chat)


def _check_asked(*, prompt: str | None, chat: bool, prompts: Path | None, out: Path | None) -> None:
    if prompts is not None and (prompt is not None or chat):
        raise InputError("--prompts stands alone; leave --prompt and --chat out")
    if prompts is not None and out is None:
        raise InputError("--prompts needs --out ANSWERS.jsonl")
    if out is not None and prompts is None:
        raise InputError("--out is where the answers to --prompts go; without --prompts FILE there are none")


def _is_model_folder(path: Path) -> bool:
    """Whether a model is meant, be it there or not, and no recipe."""
    return path.is_dir() or path.suffix == ".gguf" or (not path.exists() and path.suffix not in (".yaml", ".yml"))


app.command(embed, sort_key=(4, 1))
app.command(similar, sort_key=(4, 2))
app.command(predict, sort_key=(4, 3))
app.command(serve, sort_key=(4, 4))


@app.command(sort_key=(2,))
def plan(recipe: RecipeFile, /, *overrides: Override, find: Flag = False, out: Path | None = None) -> None:
    """Tell tokens, parameters, steps, time and memory before anything runs; with --find, look for better settings.

    Parameters
    ----------
    find
        Look for the learning rate, the rows that go through the model at once and the rows a step, by short trainings.
    out
        The folder that --find writes its curve and its figures to; by default that of the run with -find behind it.
    """
    loaded = _load(recipe, overrides)
    if find:
        from danlu.evaluate.found import find_and_write

        find_and_write(loaded, out)
        return
    if out is not None:
        raise InputError("--out is where --find writes; without --find nothing is written")
    from danlu.train import plan as planner

    say(planner.in_words(planner.estimate(loaded)))


@app.command(sort_key=(5,))
def report(recipe: RecipeFile, /, *overrides: Override) -> None:
    """Write the report of a run again."""
    from danlu.run_folder import RunFolder

    loaded = _load(recipe, overrides)
    say(f"report: {_write_report(RunFolder(loaded.run_dir), loaded)}")


@app.command(sort_key=(6,))
def init(folder: Path, /, *, out: Path = Path("recipe.yaml"), model: Path | None = None) -> None:
    """Look at a folder of text, or at a file of examples of a task, and write a commented recipe for it.

    Parameters
    ----------
    folder
        Where the text lies; or a file such as reviews.csv, whose columns tell what is to be learned.
    out
        The recipe to write; a file that exists is never overwritten.
    model
        The folder of the model that learns a task.
    """
    from danlu.init import write_recipe

    say(write_recipe(folder, out, model=model))


@app.command(name="import", sort_key=(6, 1))
def import_(path_or_name: str, out: Path | None = None, /, *, dtype: Dtype | None = None) -> None:
    """Read a model of others, check it, and write it as a complete folder for generate, embed and transformers.

    Parameters
    ----------
    path_or_name
        A folder, a .gguf file, or a name on the Hugging Face hub such as org/model.
    out
        The folder to write, which must not be there yet; runs/imported/NAME by default.
    dtype
        The type of the weights that are written; by default the narrowest that holds all of the file's exactly.
    """
    from danlu.nn.hf.import_model import import_model
    from danlu.tasks.uses import summary

    for name, value in summary(path_or_name, import_model(path_or_name, out, dtype=dtype)):
        say(f"{name:<12}  {harmless(value)}")


@app.command(sort_key=(7,))
def schema() -> None:
    """Print the JSON schema of a recipe, so that editors complete and check it."""
    from danlu.recipe import recipe_schema

    say(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))


@app.command(sort_key=(8,))
def doctor() -> None:
    """Tell what this machine has and what Danlu will use of it."""
    from danlu.doctor import findings

    say("\n".join(findings()))


app.command(compare, sort_key=(5, 1))
app.command(rate)
app.command(verify)
app.command(trace, sort_key=(5, 2))


def _load(recipe: Path, overrides: Sequence[str], ray: str | None = None) -> Recipe:
    from danlu.recipe import load_recipe

    with excused(os.environ):
        loaded = load_recipe(recipe, overrides)
    own = [name for name, section in loaded.sections.items() if ray is not None and "ray" in type(section).model_fields]
    return load_recipe(recipe, [*overrides, *(f"{name}.ray={json.dumps(ray)}" for name in own)]) if own else loaded


def _run_stages(
    recipe: Recipe, stages: Sequence[str], changed: Changed = "refuse", *, ray: Ray = None, workers: Workers = None
) -> RunFolder:
    from danlu.runs import run_stages
    from danlu.stopping import stoppable

    def begin(stage: str) -> None:
        say(f"{stage}: begins")

    here = ray is None and workers is None
    if here and (world := read_world(os.environ)) is not None:
        with excused(os.environ):  # what it needs may not be there on this machine
            from danlu.train.launch import run_on_ranks
        return run_on_ranks(world, recipe, stages, say, begin=begin, changed=changed)
    with stoppable():
        if here:
            return run_stages(recipe, stages, say, begin=begin, changed=changed)
        from danlu.train.with_ray import run_with_ray

        return run_with_ray(recipe, stages, begin, changed, address=ray, workers=workers)


def _write_report(folder: RunFolder, recipe: Recipe) -> Path:
    from danlu.evaluate.report import write_report
    from danlu.files import writing

    with writing(folder.path):
        return write_report(folder, recipe)
