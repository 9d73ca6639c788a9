// Makes the page quicker and kinder. Everything works without it, too.
"use strict";

const main = () => document.getElementById("main");

// Times as they are here, with the exact one as a title.
function tellTimes(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const when = new Date(each.dateTime);
    if (isNaN(when) || each.title) continue;
    each.title = each.textContent;
    each.textContent = when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}

// Finding, sorting and turning pages change a part of the page only.
let asking = null;
async function swap(url, push) {
  const here = document.querySelector("[data-swapped]");
  if (!here) return location.assign(url);
  asking?.abort();
  asking = new AbortController();
  here.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(url, { signal: asking.signal, headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector("[data-swapped]");
    if (!found) return location.assign(url);
    here.replaceWith(found);
    const form = document.querySelector("form.search"), fresh = page.querySelector("form.search");
    if (form && fresh) takeForm(form, fresh);
    tellTimes(found);
    if (push) history.pushState({ swapped: true }, "", url);
  } catch (error) {
    if (error.name !== "AbortError") location.assign(url);
  }
}

// The search line says what was asked; what is being written in it stays.
function takeForm(form, fresh) {
  const line = form.querySelector("input[type=search]"), other = fresh.querySelector("input[type=search]");
  if (document.activeElement !== line) line.value = other.value;
  if (other.hasAttribute("aria-invalid")) line.setAttribute("aria-invalid", "true");
  else line.removeAttribute("aria-invalid");
  for (const each of form.querySelectorAll("input[type=hidden]")) each.remove();
  form.append(...fresh.querySelectorAll("input[type=hidden]"));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const turned = link.closest(".pager");
  swap(link.href, true).then(() => {
    if (turned) window.scrollTo({ top: 0 });
    const name = link.textContent.trim();
    const again = [...document.querySelectorAll("[data-swapped] a[data-swap]")].find((e) => e.textContent.trim() === name);
    (again || main()).focus({ preventScroll: true });
  });
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-swap]")) return;
  event.preventDefault();
  const given = [...new FormData(form)].filter(([, value]) => value !== "");
  const query = new URLSearchParams(given).toString();
  swap(location.pathname + (query ? "?" + query : ""), true);
});

window.addEventListener("popstate", () => {
  if (document.querySelector("[data-swapped]")) swap(location.href, false);
});

// A field of which something is written is there.
document.addEventListener("input", (event) => {
  const field = event.target.closest(".field");
  const state = field?.querySelector("select.state");
  if (state && event.target !== state && event.target.value !== "") state.value = "value";
  if (state) field.className = "field is-" + state.value.replace("?", "");
  checkJson(event.target);
});

// What is no JSON is said while it is written.
function checkJson(area) {
  if (!area.matches?.("textarea[data-json]")) return;
  const absent = area.closest(".field")?.querySelector("select.state")?.value;
  let wrong = "";
  if (absent === undefined || absent === "value") {
    try { JSON.parse(area.value || (area.id === "overrides" ? "{}" : "")); }
    catch (error) { wrong = "This is no JSON: " + error.message; }
  }
  area.setCustomValidity(wrong);
}

// What was written is not lost by a click.
let written = document.querySelector("form[data-written]");
document.addEventListener("input", (event) => { written = event.target.closest("form[data-watch]") || written; });
document.addEventListener("submit", (event) => {
  if (event.target.matches("form[data-watch]")) written = null;
});
window.addEventListener("beforeunload", (event) => { if (written) event.preventDefault(); });

// A template is rendered while it is written.
function previewing(form) {
  let timer = null, sending = null;
  const parts = ["result", "values"];
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      sending?.abort();
      sending = new AbortController();
      try {
        const body = new URLSearchParams(new FormData(form));
        const answer = await fetch(form.dataset.preview, { method: "POST", body, signal: sending.signal });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const name of parts) {
          const fresh = page.querySelector(`[data-part=${name}]`);
          if (fresh) form.querySelector(`[data-part=${name}]`).replaceChildren(...fresh.childNodes);
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        form.querySelector("[data-part=result]").textContent = "This page's program does not answer.";
      }
    }, 350);
  });
}

// Changes as they come.
function following(body) {
  const live = document.getElementById("live");
  const events = new EventSource(body.dataset.stream);
  events.onopen = () => { live.textContent = "Changes come in here as they happen."; };
  events.onerror = () => {
    live.textContent = events.readyState === EventSource.CLOSED
      ? "Changes come in no more: load the page again." : "The connection broke; trying again…";
  };
  events.addEventListener("reset", () => location.reload());
  events.addEventListener("trouble", (event) => { live.textContent = JSON.parse(event.data); });
  events.onmessage = (event) => {
    const { id, what, at, href, data } = JSON.parse(event.data);
    document.getElementById("none")?.remove();
    for (const row of [...body.rows]) if (row.cells[0].textContent === id) row.remove();
    const row = body.insertRow(0);
    row.className = "fresh";
    const head = document.createElement("th"), link = document.createElement("a");
    head.scope = "row";
    link.href = href + (what === "deleted" ? "/history" : "");
    link.textContent = id;
    head.append(link);
    const time = document.createElement("time");
    time.dateTime = new Date(at).toISOString();
    time.textContent = time.dateTime;
    row.append(head);
    for (const [text, name] of [[what, "what"], [data, "map now"]]) {
      const cell = row.insertCell();
      cell.className = name;
      cell.textContent = text;
    }
    row.insertCell().append(time);
    tellTimes(row);
    while (body.rows.length > 200) body.deleteRow(-1);
  };
  window.addEventListener("pagehide", () => events.close());
}

document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input, textarea, select, [contenteditable]");
  const line = document.querySelector("input[type=search]");
  if (event.key === "/" && !busy && line && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    line.focus();
    line.select();
  }
});

tellTimes(document);
document.querySelectorAll("form[data-preview]").forEach(previewing);
document.querySelectorAll("[data-stream]").forEach(following);
