(() => {
  "use strict";
  const root = document.querySelector(".iv-report");
  const cells = [...root.querySelectorAll(".iv-cell")];
  const links = new Map(cells.map((cell) => [cell.id, []]));
  for (const link of root.querySelectorAll(".iv-entry")) {
    links.get(link.hash.slice(1))?.push(link);
  }

  // Most of a cell is packed (zlib, base64) until the cell is opened.
  async function unpack(box) {
    const packed = box.dataset.ivPacked;
    delete box.dataset.ivPacked;
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    box.innerHTML = await new Response(stream).text();
    box.querySelectorAll(".iv-command").forEach(offerCopy);
  }

  // The claim is written once for all of its cells: an opened cell shows it again.
  function fill(cell) {
    const box = cell.querySelector("[data-iv-packed]");
    if (!box) return;
    cell.querySelector(".iv-body").prepend(
      cell.parentElement.querySelector(".iv-claim").cloneNode(true),
    );
    return unpack(box);
  }

  // What is too wide for the page can be scrolled with the keyboard.
  function offerScrolling(cell) {
    for (const box of cell.querySelectorAll(".iv-scroll, .iv-figure")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    }
  }

  function offerCopy(command) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "iv-copy";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(command);
      try {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "copied";
      } catch {
        button.textContent = "selected";
      }
    });
    command.before(button);
  }

  for (const cell of cells) {
    cell.addEventListener("toggle", async () => {
      if (!cell.open) return;
      await fill(cell);
      offerScrolling(cell);
    });
  }

  const form = root.querySelector(".iv-filters");
  function filter() {
    const wanted = [...form.querySelectorAll("select")].filter((select) => select.value);
    let shown = 0;
    for (const cell of cells) {
      cell.hidden = wanted.some((select) => cell.dataset[select.name] !== select.value);
      shown += !cell.hidden;
      for (const link of links.get(cell.id)) link.classList.toggle("iv-off", cell.hidden);
    }
    for (const group of root.querySelectorAll(".iv-group")) {
      group.hidden = !group.querySelector(".iv-cell:not([hidden])");
    }
    for (const row of root.querySelectorAll(".iv-matrix tbody tr:not(.iv-family)")) {
      row.hidden = !row.querySelector(".iv-entry:not(.iv-off)");
    }
    for (const table of root.querySelectorAll(".iv-matrix")) {
      table.parentElement.hidden = !table.querySelector(".iv-entry:not(.iv-off)");
    }
    for (const body of root.querySelectorAll(".iv-matrix tbody")) {
      body.hidden = !body.querySelector(".iv-entry:not(.iv-off)");
    }
    form.querySelector("output").textContent = `${shown} of ${cells.length} cells`;
  }

  // In the page's address, so that a link shows what its sender saw. Other parameters stay.
  function remember() {
    const url = new URL(location);
    for (const { name, value } of form.querySelectorAll("select")) {
      if (value) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
    }
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  }

  function recall() {
    const asked = new URL(location).searchParams;
    for (const select of form.querySelectorAll("select")) {
      const value = asked.get(select.name);
      if ([...select.options].some((option) => option.value === value)) select.value = value;
    }
  }

  // The bar stays in view, as high as its controls need at this width: cells stop below it.
  function makeRoom() {
    const height = getComputedStyle(form).position === "sticky" ? form.offsetHeight : 0;
    root.style.setProperty("--iv-bar", `${height}px`);
  }

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.classList.contains("iv-cell")) return;
    if (target.hidden) form.reset();
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  }

  if (form) {
    form.hidden = false;
    const refilter = () => {
      filter();
      remember();
    };
    form.addEventListener("change", refilter);
    form.addEventListener("reset", () => setTimeout(refilter));
    form.addEventListener("click", (event) => {
      const action = event.target.dataset.iv;
      for (const cell of action ? cells : []) {
        if (action === "close" || !cell.hidden) cell.open = action === "open";
      }
    });
    recall();
    filter();
    makeRoom();
    addEventListener("resize", makeRoom);
  }
  // The same link clicked twice changes no hash, so a closed cell is opened on the click.
  root.addEventListener("click", (event) => {
    if (event.target.closest(".iv-entry")) setTimeout(reveal);
  });
  addEventListener("hashchange", reveal);
  addEventListener("load", reveal);
})();
