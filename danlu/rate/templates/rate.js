// Keyboard shortcuts; the page does all its work without them.
"use strict";
const form = document.querySelector("form[data-keys]");
let sent = false;

if (form) form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault();  // a second click while the first is on its way
  sent = true;
});
window.addEventListener("pageshow", () => { sent = false; });

let typed = "", typing = null;  // the first digits of a number that may go on, as 1 to 10, and its question

function mark() {
  const all = [...document.querySelectorAll("fieldset")];
  const current = typing ?? all.find((each) => !each.querySelector(":checked"));
  for (const each of all) each.classList.toggle("current", each === current);
  return current;
}

function typedOut() { typed = ""; typing = null; return mark(); }

function type(digit) {
  const question = mark();
  if (!question) return;
  const text = typed + digit;
  const fitting = [...question.querySelectorAll("input")].filter((each) => each.value.startsWith(text));
  const choice = fitting.find((each) => each.value === text);
  if (typed && !fitting.length) { typedOut(); type(digit); return; }  // the number before was whole
  if (choice) choice.checked = true;
  if (!fitting.length) return;
  [typed, typing] = fitting.some((each) => each !== choice) ? [text, question] : ["", null];
  mark()?.scrollIntoView({ block: "nearest" });
}

function press(event) {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "u") { document.querySelector('[data-key="u"]')?.click(); return; }
  if (!form) return;
  if (form.dataset.keys === "pairs") {
    const place = { 1: 0, ArrowLeft: 0, 2: 1, ArrowRight: 1, 3: 2, 4: 3 }[event.key];
    const buttons = form.querySelectorAll("button[name=choice]");
    if (place !== undefined) { event.preventDefault(); buttons[place].click(); }
    return;
  }
  if (/^[0-9]$/.test(event.key)) {
    type(event.key);
  } else if (event.key === "Enter" && !event.target.closest("a, button")) {
    event.preventDefault();
    if (typing && typedOut()) return;  // a number that might have gone on is whole, and another question is open
    form.requestSubmit();
  }
}

if (!document.querySelector("input[name=name]")) document.addEventListener("keydown", press);
if (form?.dataset.keys === "scores") { form.addEventListener("change", typedOut); mark(); }
