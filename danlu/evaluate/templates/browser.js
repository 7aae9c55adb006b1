for (const browser of document.querySelectorAll(".browser")) {
  const list = browser.querySelector(".examples"), controls = browser.querySelector(".controls");
  const examples = Array.from(list.children, (item) => ({
    item, kinds: JSON.parse(item.dataset.kinds), orders: JSON.parse(item.dataset.orders),
    text: item.textContent.toLowerCase(),
  }));
  const filters = Array.from(controls.querySelectorAll("[data-filter]"));
  const order = controls.querySelector("[data-order]"), words = controls.querySelector("[data-words]");
  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean), by = Number(order.value);
    let count = 0;
    for (const each of examples) {
      const kept = filters.every((filter) => !filter.value || each.kinds[filter.dataset.filter] === filter.value)
        && wanted.every((word) => each.text.includes(word));
      each.item.hidden = !kept;
      count += kept;
    }
    examples.sort((one, other) => one.orders[by] - other.orders[by]);
    list.append(...examples.map((each) => each.item));
    controls.querySelector("output").textContent = `${count} of ${examples.length}`;
  };
  for (const control of [...filters, order]) control.addEventListener("change", show);
  words.addEventListener("input", show);
  controls.hidden = false;
  show();
}
