// The page of danlu serve: a box for each field of a row, and what the model answers.
"use strict";

const WORDS = navigator.language.startsWith("zh") ? {
  language: "zh", send: "预测", keys: "Ctrl + 回车", answer: "预测结果", json: "JSON", program: "在程序里调用",
  lines: "每行一个", away: "服务没有回应；它还在运行吗？", optional: "可不填",
} : {
  language: "en", send: "Predict", keys: "Ctrl + Enter", answer: "Prediction", json: "JSON", program: "From a program",
  lines: "one a line", away: "The server does not answer; is it still running?", optional: "may be empty",
};
// Optional fields that a person types; others are for programs.
const TYPED = new Set(["instruction", "system", "choices", "context", "head", "tail"]);
const SEVERAL = new Set(["choices"]);
const element = (name) => document.getElementById(name);
let fields = [];

function field(each) {
  const box = document.createElement("textarea");
  box.id = `field-${each.field}`;
  box.rows = each.field === "context" || each.field === "text" ? 5 : 3;
  box.dir = "auto";
  const label = document.createElement("label");
  const notes = [];
  if (SEVERAL.has(each.field)) notes.push(WORDS.lines);
  if (!each.required && each.field !== "instruction") notes.push(WORDS.optional);
  label.textContent = each.name + (notes.length ? ` (${notes.join(", ")})` : "");
  label.append(box);
  return label;
}

function row() {
  const found = {};
  for (const each of fields) {
    const value = element(`field-${each.field}`).value;
    if (!value.trim() && !each.required) continue;
    found[each.name] = SEVERAL.has(each.field) ? value.split("\n").filter((line) => line.trim()) : value;
  }
  return found;
}

// Entities where they stand in the text, each with its type.
function marked(place, text, entities) {
  const letters = Array.from(text); // places count characters, of which JavaScript may take two for one
  let end = 0;
  for (const each of entities) {
    if (each.start < end) continue;
    place.append(letters.slice(end, each.start).join(""));
    const mark = document.createElement("mark");
    const type = document.createElement("small");
    type.textContent = each.type;
    mark.append(letters.slice(each.start, each.end).join(""), type);
    place.append(mark);
    end = each.end;
  }
  place.append(letters.slice(end).join(""));
}

function shown(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(5)));
  if (Array.isArray(value)) return value.map(shown).join(", ");
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "—");
}

function show(answer) {
  const place = element("prediction");
  place.replaceChildren();
  if (Array.isArray(answer.entities)) marked(place, answer.texts[0], answer.entities);
  else place.textContent = shown(answer.prediction);
  place.classList.toggle("long", place.textContent.length > 120);
  const scores = element("scores");
  scores.replaceChildren();
  const rows = Object.entries(answer.scores ?? {});
  if (!rows.length && typeof answer.confidence === "number") rows.push(["", answer.confidence]);
  for (const [label, share] of rows) {
    const line = scores.insertRow();
    line.insertCell().className = "label";
    line.cells[0].textContent = label;
    const bar = document.createElement("progress");
    bar.value = share;
    line.insertCell().className = "bar";
    line.cells[1].append(bar);
    line.insertCell().className = "share";
    line.cells[2].textContent = `${(100 * share).toFixed(1)} %`;
  }
  element("json").textContent = JSON.stringify(answer, null, 2);
  element("answer").hidden = false;
}

function complain(reason) {
  element("problem").textContent = reason;
  element("problem").hidden = !reason;
  if (reason) element("answer").hidden = true;
}

async function ask(event) {
  event.preventDefault();
  element("send").disabled = true;
  try {
    const response = await fetch("predict", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(row()),
    });
    const answer = await response.json();
    complain(response.ok ? "" : answer.error);
    if (response.ok) show(answer);
  } catch (error) {
    complain(error instanceof TypeError ? WORDS.away : String(error));
  } finally {
    element("send").disabled = false;
  }
}

async function begin() {
  document.documentElement.lang = WORDS.language;
  for (const [name, word] of [["send", WORDS.send], ["keys", WORDS.keys], ["answer-title", WORDS.answer],
    ["json-title", WORDS.json], ["program-title", WORDS.program]]) element(name).textContent = word;
  const said = await (await fetch("model")).json();
  fields = said.fields.filter((each) => each.required || TYPED.has(each.field));
  document.title = `${said.model} · danlu`;
  element("model").textContent = said.model;
  element("task").textContent = said.labels.length && said.labels.length <= 12
    ? `${said.task}: ${said.labels.join(", ")}` : said.task;
  element("fields").append(...fields.map(field));
  const example = Object.fromEntries(fields.filter((each) => each.required || !fields.some((one) => one.required))
    .map((each) => [each.name, "…"]));
  element("program").textContent =
    `curl ${location.origin}/predict -H 'Content-Type: application/json' -d '${JSON.stringify(example)}'`;
  element("form").addEventListener("submit", ask);
  element("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
  });
  document.querySelector("textarea")?.focus();
}

begin().catch(() => complain(WORDS.away));
