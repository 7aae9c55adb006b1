// Keyboard shortcuts; the page does all its work without them.
"use strict";
const form = document.querySelector("form[data-keys]");
let sent = false;

if (form) form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault();  // a second click while the first is on its way
  sent = true;
});
window.addEventListener("pageshow", () => { sent = false; });

function fieldsets() { return [...document.querySelectorAll("fieldset")]; }

function mark() {
  const all = fieldsets();
  const current = all.find((each) => !each.querySelector(":checked"));
  for (const each of all) each.classList.toggle("current", each === current);
  return current;
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
    const current = mark();
    const choice = current?.querySelector(`input[value="${event.key}"]`);
    if (choice) { choice.checked = true; mark()?.scrollIntoView({ block: "nearest" }); }
  } else if (event.key === "Enter" && !event.target.closest("a, button")) {
    event.preventDefault();
    form.requestSubmit();
  }
}

if (!document.querySelector("input[name=name]")) document.addEventListener("keydown", press);
if (form?.dataset.keys === "scores") { form.addEventListener("change", mark); mark(); }
