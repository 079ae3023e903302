"use strict";

// Parts of the page with data-refresh are replaced by what their address returns, which
// the service has escaped. A part that has not changed is left alone.
async function refresh(part) {
  try {
    const response = await fetch(part.dataset.refresh);
    if (response.redirected) { // to the login
      location.reload();
      return;
    }
    const text = response.ok ? await response.text() : "";
    if (text && text !== part.shown && !part.matches(":active")) { // it is not being clicked
      const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
      part.shown = text;
      part.innerHTML = text;
      if (focused) part.querySelector(`[href="${focused}"]`)?.focus();
    }
  } catch {
    // The service is being replaced; the next time.
  }
}

const table = document.getElementById("table");
if (table) {
  setInterval(() => document.hidden || refresh(table), 2000);
}

// The events of a bake. When the connection breaks, the browser connects again and names
// the last event it has seen.
const list = document.getElementById("events");
if (list) {
  const mostLines = 5000;
  const summary = document.getElementById("summary");
  const activity = document.getElementById("activity");
  let due = 0;

  function soon() { // at most once a second
    due ||= setTimeout(() => { due = 0; refresh(summary); }, 1000);
  }

  function add(kind, text, time) {
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 20;
    const item = document.createElement("li");
    item.className = kind;
    item.textContent = text;
    item.title = time;
    list.append(item);
    if (list.children.length > mostLines) list.firstChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  function show(e) {
    const resource = e.resource ? e.resource.kind + " " + e.resource.id : "";
    const problem = e.error ? ": " + e.error : "";
    activity.textContent = "";
    switch (e.kind) {
    case "output": add("output", e.text, e.time); break;
    case "step started": add("step", e.step + (e.attempt > 1 ? " (attempt " + e.attempt + ")" : ""), e.time); soon(); break;
    case "step finished": if (e.error) add("failed", e.step + problem, e.time); soon(); break;
    case "undo finished": add(e.error ? "failed" : "note", (e.step || "clean-up") + (problem || ": done"), e.time); soon(); break;
    case "resource created": add("note", "created " + resource, e.time); break;
    case "resource removed": add("note", "removed " + resource, e.time); break;
    case "progress": activity.textContent = resource + ": " + e.done + " %"; break;
    case "bytes moved": activity.textContent = e.text + ": " + e.done + " bytes"; break;
    case "command started": case "command finished": case "API call": break;
    case "build finished": add(e.error ? "failed" : "finished", e.status + (e.text ? ": " + e.text : problem), e.time); soon(); break;
    default: add("note", e.kind + (e.text ? ": " + e.text : "") + problem, e.time); soon();
    }
  }

  const source = new EventSource(list.dataset.events);
  source.onmessage = (message) => show(JSON.parse(message.data));
  source.addEventListener("end", () => { source.close(); activity.textContent = ""; soon(); });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) location.reload(); };
  setInterval(() => source.readyState === EventSource.CLOSED || soon(), 5000);
}
