// The page of danlu serve: a box for each field of a row, and what the model answers.
"use strict";

const WORDS = navigator.language.startsWith("zh") ? {
  language: "zh", send: "预测", keys: "Ctrl + 回车", answer: "预测结果", json: "JSON", program: "在程序里调用",
  lines: "每行一个", away: "服务没有回应；它还在运行吗？", optional: "可不填", none: "（空）", confidence: "置信度",
} : {
  language: "en", send: "Predict", keys: "Ctrl + Enter", answer: "Prediction", json: "JSON", program: "From a program",
  lines: "one a line", away: "The server does not answer; is it still running?", optional: "may be empty", none: "(nothing)",
  confidence: "confidence",
};
// Fields that are not needed by every row, and that a person types all the same: of the first, an answer makes no sense
// without them. Others are for programs.
const WANTED = new Set(["instruction", "choices", "head", "tail"]);
const BESIDE = new Set(["system", "context", "text_pair"]);
const SEVERAL = new Set(["choices"]);
const MOST_SHOWN = 120; // characters of a prediction in large letters
const element = (name) => document.getElementById(name);
const needed = (each) => each.required || WANTED.has(each.field);
let fields = [];

function field(each) {
  const box = document.createElement("textarea");
  box.id = `field-${each.field}`;
  box.rows = each.field === "context" || each.field === "text" ? 5 : 3;
  box.dir = "auto";
  const label = document.createElement("label");
  const notes = [];
  if (SEVERAL.has(each.field)) notes.push(WORDS.lines);
  if (!needed(each)) notes.push(WORDS.optional);
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

function mark(text, kind) {
  const found = document.createElement("mark");
  const type = document.createElement("small");
  type.textContent = kind;
  found.append(text, type);
  return found;
}

// Entities where they stand in the text, each with its type.
function showEntities(place, text, entities) {
  const letters = Array.from(text); // places count characters, of which JavaScript may take two for one
  let end = 0;
  for (const each of entities) {
    if (each.start < end) continue;
    place.append(letters.slice(end, each.start).join(""), mark(letters.slice(each.start, each.end).join(""), each.type));
    end = each.end;
  }
  place.append(letters.slice(end).join(""));
}

function shown(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(7)));
  if (Array.isArray(value)) return value.map(shown).join(", ") || WORDS.none;
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "") || WORDS.none;
}

function showPrediction(place, answer, choices) {
  if (answer.entities) showEntities(place, answer.texts[0], answer.entities);
  else if (answer.words && Array.isArray(answer.prediction)) { // parts of speech
    answer.words.forEach((word, number) => place.append(mark(word, answer.prediction[number]), " "));
  } else place.textContent = choices?.[answer.prediction] ?? shown(answer.prediction);
}

function showScores(table, answer, choices) {
  const rows = Object.entries(answer.scores ?? {}).map(([label, share]) => [choices?.[label] ?? label, share]);
  rows.sort((one, other) => other[1] - one[1]);
  if (!rows.length && !answer.words && typeof answer.confidence === "number") rows.push([WORDS.confidence, answer.confidence]);
  for (const [label, share] of rows) {
    const line = table.insertRow();
    line.insertCell().className = "label";
    line.cells[0].textContent = label;
    const bar = document.createElement("progress");
    bar.value = share;
    line.insertCell().className = "bar";
    line.cells[1].append(bar);
    line.insertCell().className = "share";
    line.cells[2].textContent = `${(100 * share).toFixed(1)} %`;
  }
}

function show(answer, text, sent) {
  const choices = sent[fields.find((each) => SEVERAL.has(each.field))?.name];
  const place = element("prediction");
  place.replaceChildren();
  showPrediction(place, answer, choices);
  place.classList.toggle("long", place.textContent.length > MOST_SHOWN);
  element("scores").replaceChildren();
  showScores(element("scores"), answer, choices);
  element("json").textContent = text;
  element("answer").hidden = false;
}

function complain(reason) {
  element("problem").textContent = reason;
  element("problem").hidden = !reason;
  if (reason) element("answer").hidden = true;
}

async function ask(event) {
  event.preventDefault();
  if (element("send").disabled) return;
  element("send").disabled = true;
  const sent = row();
  let response, text;
  try {
    response = await fetch("predict", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(sent),
    });
    text = await response.text();
  } catch {
    complain(WORDS.away);
    return;
  } finally {
    element("send").disabled = false;
  }
  if (!response.headers.get("Content-Type")?.startsWith("application/json")) complain(text);
  else if (!response.ok) complain(JSON.parse(text).error);
  else {
    complain("");
    show(JSON.parse(text), text, sent);
  }
}

async function begin() {
  document.documentElement.lang = WORDS.language;
  for (const [name, word] of [["send", WORDS.send], ["keys", WORDS.keys], ["answer-title", WORDS.answer],
    ["json-title", WORDS.json], ["program-title", WORDS.program]]) element(name).textContent = word;
  const said = await (await fetch("model")).json();
  fields = said.fields.filter((each) => needed(each) || BESIDE.has(each.field));
  document.title = `${said.model} · danlu`;
  element("model").textContent = said.model;
  element("task").textContent = said.labels.length && said.labels.length <= 12
    ? `${said.task}: ${said.labels.join(", ")}` : said.task;
  element("fields").append(...fields.map(field));
  const example = Object.fromEntries(fields.filter(needed)
    .map((each) => [each.name, SEVERAL.has(each.field) ? ["…", "…"] : "…"]));
  const quoted = JSON.stringify(example).replaceAll("'", "'\\''");
  element("program").textContent =
    `curl ${location.origin}/predict -H 'Content-Type: application/json' -d '${quoted}'`;
  element("form").addEventListener("submit", ask);
  element("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
  });
  document.querySelector("textarea")?.focus();
}

begin().catch(() => complain(WORDS.away));
