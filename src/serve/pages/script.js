// What the pages can do where scripts are allowed. Without this file nothing is missing but comfort: every
// figure stands in a table, and a page can be loaded again.
"use strict";

// Figures under the pointer or, with the arrow keys, under the cursor: taken from the chart's table.
function follow(box) {
  const rows = [...document.querySelectorAll(`#${box.dataset.chart} tbody tr`)].map((row) => ({
    day: row.dataset.day,
    figures: [...row.querySelectorAll("td.num")].map((cell) => cell.textContent),
  }));
  const names = ["unique", "new", "returning"];
  const plot = box.querySelector(".plot");
  const cursor = box.querySelector(".cursor");
  const at = box.querySelector(".at");
  if (!rows.length || !cursor) return;
  const DAY = 86400000;
  const first = Date.parse(rows[0].day);
  const picture = plot.querySelector("svg");
  const span = Math.max(1, Number(picture.getAttribute("viewBox").split(" ")[2]));
  const byDay = new Map(rows.map((row, index) => [Math.round((Date.parse(row.day) - first) / DAY), index]));
  let place = null;

  function show(x) {
    place = Math.min(span, Math.max(0, x));
    const row = rows[byDay.get(place)];
    for (const key of box.querySelectorAll("[data-of]")) {
      key.textContent = row ? row.figures[names.indexOf(key.dataset.of)] : "–";
    }
    const date = new Date(first + place * DAY);
    // As everywhere else on the page.
    at.textContent = date.toLocaleDateString("en-GB", {
      weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC",
    });
    const share = `${(100 * place) / span}%`;
    cursor.setAttribute("x1", share);
    cursor.setAttribute("x2", share);
    cursor.setAttribute("visibility", "visible");
  }

  function hide() {
    place = null;
    cursor.setAttribute("visibility", "hidden");
    at.textContent = "";
    for (const key of box.querySelectorAll("[data-of]")) key.textContent = "";
  }

  box.addEventListener("pointermove", (event) => {
    const chart = box.querySelector(".chart").getBoundingClientRect();
    show(Math.round(((event.clientX - chart.left) / chart.width) * span));
  });
  box.addEventListener("pointerleave", hide);
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Chart by day: left and right arrow keys go from day to day");
  box.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") hide();
    if (!(event.key in steps)) return;
    event.preventDefault();
    const step = steps[event.key];
    show(place === null ? span : Number.isFinite(step) ? place + step : step < 0 ? 0 : span);
  });
  box.addEventListener("blur", hide);
}

// Fresh figures each minute, where nobody is in the middle of something.
function keepFresh() {
  const main = document.querySelector("main[data-refresh]");
  if (!main) return;
  setInterval(async () => {
    const current = document.querySelector("main");
    if (document.hidden || current.contains(document.activeElement)) return;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const pulse = page.querySelector(".pulse");
      current.replaceWith(page.querySelector("main"));
      document.querySelector(".pulse").replaceWith(pulse);
    } catch {
      // The daemon is away; the next minute will tell.
    }
  }, 60000);
}

document.querySelectorAll("[data-chart]").forEach(follow);
keepFresh();
