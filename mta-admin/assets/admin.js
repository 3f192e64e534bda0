"use strict";
// Every page works without this: it shows moments in the reader's zone, renews the statistics in
// place, marks whole pages of rows, and closes menus.

function showLocalTimes(root) {
  // This language writes dates as the pages do: 2026-01-31 12:00:00.
  const format = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
  const part = (text) => Object.assign(document.createElement("span"), { textContent: text });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const [day, hour] = format.format(moment).split(" ");
    time.replaceChildren(part(day), " ", part(hour));
  }
}

function renew(place) {
  const again = () => setTimeout(() => renew(place), 1000 * Number(place.dataset.interval));
  if (document.hidden) {
    document.addEventListener("visibilitychange", () => renew(place), { once: true });
    return;
  }
  fetch(place.dataset.live, { headers: { accept: "text/html" } })
    .then((answer) => {
      // The session is over: the login page is next.
      if (answer.redirected) location.reload();
      return answer.ok ? answer.text() : Promise.reject(new Error(String(answer.status)));
    })
    .then((html) => {
      place.innerHTML = html;
      place.classList.remove("stale");
      again();
    })
    .catch(() => {
      place.classList.add("stale");
      again();
    });
}

function markRows(form) {
  const head = form.querySelector("th.mark");
  const rows = [...form.querySelectorAll('input[name="selected"]')];
  if (!head || rows.length === 0) return;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Select all on this page");
  head.replaceChildren(all);
  const count = form.querySelector("[data-selected]");
  const selected = form.querySelector('input[name="scope"][value="selected"]');
  const show = () => {
    const marked = rows.filter((row) => row.checked).length;
    all.checked = marked === rows.length;
    all.indeterminate = marked > 0 && marked < rows.length;
    if (count) count.textContent = marked > 0 ? ` (${marked})` : "";
  };
  all.addEventListener("change", () => {
    for (const row of rows) row.checked = all.checked;
    if (selected) selected.checked = true;
    show();
  });
  for (const row of rows) {
    row.addEventListener("change", () => {
      if (selected) selected.checked = true;
      show();
    });
  }
  show();
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(except)) menu.open = false;
  }
}

showLocalTimes(document);
document.querySelectorAll("[data-live]").forEach((place) => {
  setTimeout(() => renew(place), 1000 * Number(place.dataset.interval));
});
document.querySelectorAll("form.list").forEach(markRows);
document.addEventListener("click", (event) => closeMenus(event.target));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeMenus(null);
});
// Empty fields have no place in the address.
document.querySelectorAll("form.filter").forEach((form) => {
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) {
      if (value === "") event.formData.delete(name);
    }
  });
});
