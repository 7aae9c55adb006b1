"""What the keys of the rating page do: its script, run by node on the little of a page that it looks at."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence

import pytest

from danlu.rate.page import static

PAGE = """
const scales = JSON.parse(process.argv[1]), pressed = JSON.parse(process.argv[2]), saved = [];
const fieldsets = scales.map((scale) => {
  const inputs = scale.map((step) => {
    let checked = false;
    return { value: String(step), get checked() { return checked; },
             set checked(on) { for (const each of inputs) each.uncheck(); checked = on; },
             uncheck() { checked = false; } };
  });
  return { inputs, scrollIntoView() {}, classList: { toggle(name, on) { if (name === "current") this.on = on; } },
           querySelectorAll: () => inputs, querySelector: () => inputs.find((each) => each.checked) ?? null };
});
const heard = {};
const form = { dataset: { keys: "scores" }, addEventListener: (name, act) => { heard[name] = act; },
               requestSubmit: () => saved.push(true) };
globalThis.window = { addEventListener() {} };
globalThis.document = {
  addEventListener: (name, act) => { heard[name] = act; },
  querySelector: (what) => what === "form[data-keys]" ? form : null,
  querySelectorAll: () => fieldsets,
};
(0, eval)(require("fs").readFileSync(0, "utf8"));
for (const key of pressed) {
  if (key === "click") { fieldsets[1].inputs[0].checked = true; heard.change(); continue; }
  heard.keydown({ key, target: { closest: () => null }, preventDefault() {} });
}
const marks = fieldsets.map((each) => each.querySelector()?.value ?? null);
console.log(JSON.stringify([marks, fieldsets.findIndex((each) => each.classList.on), saved.length]));
"""
TEN, FIVE = range(11), range(1, 6)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here, which runs the page's script")
@pytest.mark.parametrize(("scales", "keys", "marks", "current", "saved"), [
    ([FIVE, FIVE], ["3", "4", "Enter"], ["3", "4"], -1, 1),
    ([FIVE, FIVE], ["7", "0", "3"], ["3", None], 1, 0),  # no such number
    ([TEN, TEN], ["1"], ["1", None], 0, 0),  # it may become 10
    ([TEN, TEN], ["1", "0"], ["10", None], 1, 0),
    ([TEN, TEN], ["1", "7"], ["1", "7"], -1, 0),
    ([TEN, TEN], ["1", "1", "0"], ["1", "10"], -1, 0),
    ([TEN, TEN], ["1", "Enter", "0"], ["1", "0"], -1, 0),
    ([TEN, TEN], ["0", "1", "0", "Enter"], ["0", "10"], -1, 1),
    ([TEN, TEN], ["4", "1", "Enter"], ["4", "1"], -1, 1),  # nothing else is open
    ([TEN, TEN, TEN], ["1", "click", "0"], ["1", "0", "0"], -1, 0),
    ([range(1, 11), FIVE], ["1", "0", "5"], ["10", "5"], -1, 0),
    ([range(5, 16), FIVE], ["1", "2", "5"], ["12", "5"], -1, 0),
    ([range(5, 16), FIVE], ["1", "7", "5"], ["7", "5"], -1, 0),
])  # fmt: skip
def test_what_keys_answer(
    scales: Sequence[range], keys: list[str], marks: list[str | None], current: int, saved: int
) -> None:
    steps = json.dumps([list(each) for each in scales])
    done = subprocess.run(
        ["node", "-e", PAGE, "--", steps, json.dumps(keys)], input=static("/rate.js"), capture_output=True, check=True
    )
    assert json.loads(done.stdout) == [marks, current, saved]
