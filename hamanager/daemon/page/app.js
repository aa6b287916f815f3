// The page: what the API says, drawn. No framework, no build step, nothing from elsewhere.

const KEY = "hamanager-token";
const $ = (id) => document.getElementById(id);
let services = [];
let token = sessionStorage.getItem(KEY) || "";
let stream = null;
const LEARN_MS = 5000;  // what changes slowly is asked for again so often, or at once when something happened
let shown = { why: null, history: null, name: null, about: "", at: 0 };

// --- Elements: always text, never markup -------------------------------------------------------

function make(tag, fields = {}, ...children) {
  const svg = ["svg", "g", "rect", "text", "path", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const seconds = (value) => (value < 10 ? `${value.toFixed(3)} s` : `${Math.round(value)} s`);
const size = (bytes) => {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 1024 && at < units.length - 1) { bytes /= 1024; at += 1; }
  return `${bytes < 10 && at ? bytes.toFixed(1) : Math.round(bytes)}${units[at]}`;
};
const moment = (at) => new Date(at * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";

// --- The API -----------------------------------------------------------------------------------

async function ask(path, options = {}) {
  const answer = await fetch(`api/v1${path}`, {
    ...options,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
  });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(told.error || `${answer.status}`), { status: answer.status });
  return told;
}
const post = (path, body) => ask(path, { method: "POST", body: JSON.stringify(body) });

async function follow() {
  const mine = (stream = new AbortController());
  while (!mine.signal.aborted) {
    try {
      const answer = await fetch("api/v1/events", {
        headers: { Authorization: `Bearer ${token}` }, signal: mine.signal,
      });
      if (answer.status === 401 || answer.status === 403) return enter((await answer.json()).error);
      if (!answer.ok) throw new Error(`${answer.status}`);
      $("link").textContent = "live";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let left = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const parts = (left + value).split("\n\n");
        left = parts.pop();
        for (const part of parts) {
          const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
          if (data.length) { services = JSON.parse(data.join("\n")); draw(); }
        }
      }
    } catch (error) {
      if (mine.signal.aborted) return;
    }
    $("link").textContent = "the manager does not answer; the databases go on";
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function enter(problem = "") {
  if (stream) stream.abort();
  sessionStorage.removeItem(KEY);
  token = "";
  $("enter").hidden = false;
  $("leave").hidden = true;
  $("refused").textContent = problem;
  $("view").replaceChildren();
  $("link").textContent = "not signed in";
  $("token").focus();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem(KEY, token);
  $("token").value = "";
  begin();
});
$("leave").addEventListener("click", () => enter());

function begin() {
  $("enter").hidden = true;
  $("leave").hidden = false;
  follow();
}

// --- All services ------------------------------------------------------------------------------

function stateOf(view) {
  const state = view.destroying ? "destroying" : view.state;
  return make("span", { class: `state ${state}` }, view.paused ? `${state}, paused` : state);
}

function all() {
  if (!services.length) {
    return [make("p", {}, "There are no services yet; ", make("code", {}, "hamanager create db --engine mysql"), " makes one.")];
  }
  const cards = services.map((view) => {
    const up = view.instances.filter((one) => one.state === "up").length;
    const lags = view.instances.map((one) => one.lag_seconds).filter((lag) => lag !== null);
    const facts = [`${view.engine}`, `${up} of ${view.desired.instances} up`];
    if (view.primary) facts.push(`primary ${view.primary}`);
    if (lags.length) facts.push(`lag ${Math.max(...lags).toFixed(1)} s`);
    return make("li", { class: "card" },
      make("h2", {}, make("a", { href: `#/${view.name}` }, view.name)),
      make("p", {}, stateOf(view), " ", make("span", { class: "soft" }, facts.join(", "))),
      make("p", { class: "soft" }, view.message));
  });
  return [make("h2", {}, "Services"), make("ul", { class: "cards" }, ...cards)];
}

// --- One service -------------------------------------------------------------------------------

const BOX = 190, HEIGHT = 66, GAP = 20;

function topology(view) {
  const leads = view.instances.filter((one) => one.name === view.primary);
  const others = view.instances.filter((one) => one.name !== view.primary);
  const columns = Math.min(3, Math.max(1, others.length));
  const rows = Math.ceil(others.length / 3);
  const width = columns * (BOX + GAP) + GAP;
  const height = (leads.length ? 130 : 10) + rows * 110;
  const words = view.instances.map((one) => `${one.name} ${one.role} ${one.state}`).join("; ");
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
  svg.style.maxWidth = `${width * 1.1}px`;
  const places = new Map();
  leads.forEach((one) => places.set(one.name, [width / 2 - BOX / 2, 10]));
  others.forEach((one, at) => {
    const row = Math.floor(at / 3), column = at % 3;
    const inRow = Math.min(3, others.length - 3 * row, columns) || 1;
    const gap = (width - inRow * BOX) / (inRow + 1);
    places.set(one.name, [gap + column * (BOX + gap), (leads.length ? 130 : 10) + row * 110]);
  });
  const members = new Set((view.durability && view.durability.synchronized) || []);
  for (const one of leads.length ? others : []) {
    const [x, y] = places.get(one.name), [px, py] = places.get(view.primary);
    const kind = one.replication_broken_since !== null || one.state === "down" ? "broken" : members.has(one.name) ? "sync" : "plain";
    svg.append(make("path", { class: kind, d: `M ${px + BOX / 2} ${py + HEIGHT} L ${x + BOX / 2} ${y}` }));
    const about = kind === "broken" ? "broken" : one.lag_seconds === null ? "" : `${one.lag_seconds.toFixed(1)} s`;
    svg.append(make("text", { class: "small", x: (px + x) / 2 + BOX / 2 + 6, y: (py + HEIGHT + y) / 2 }, about));
  }
  for (const one of view.instances) {
    const [x, y] = places.get(one.name);
    const kind = [one.name === view.primary ? "primary" : "", one.state === "up" ? "" : "is-down"].join(" ");
    const roles = [one.role, one.state];
    if (members.has(one.name)) roles.push("in sync set");
    svg.append(make("g", { class: kind },
      make("rect", { x, y, width: BOX, height: HEIGHT, rx: 8 }),
      make("text", { x: x + 10, y: y + 21, "font-weight": 600 }, one.name),
      make("text", { class: "small", x: x + 10, y: y + 39 }, roles.join(", ")),
      make("text", { class: "small", x: x + 10, y: y + 55 }, one.host ? `on ${one.host}` : one.address)));
  }
  return svg;
}

function copies(view) {
  return view.instances.filter((one) => one.sync).map((one) => {
    const sync = one.sync, parts = [sync.stage];
    if (sync.bytes_done !== null) parts.push(size(sync.bytes_done) + (sync.bytes_total ? ` of ${size(sync.bytes_total)}` : ""));
    if (sync.bytes_per_second) parts.push(`${size(sync.bytes_per_second)}/s`);
    if (sync.eta_seconds !== null) parts.push(`${Math.round(sync.eta_seconds)} s left`);
    const id = `copy-${one.name}`;
    return make("p", {},
      make("label", { for: id }, `${one.name} copies: ${parts.join(", ")}`),
      make("progress", { id, max: 100, value: sync.percent }));
  });
}

function timeline(entries) {
  const runs = entries.filter((entry) => entry.kind === "outcome" && ["fail over", "switchover", "adopt", "force"].includes(entry.playbook));
  const last = runs[runs.length - 1];
  if (!last) return [];
  const run = entries.filter((entry) => entry.run === last.run);
  const steps = run.filter((entry) => entry.kind === "step");
  const total = Math.max(0.001, last.seconds || 0);
  let begun = 0;
  const items = steps.map((step) => {
    const took = step.seconds || 0, left = Math.min(99, (100 * begun) / total);
    begun += took;
    const bar = make("i", {});
    bar.style.left = `${left}%`;
    bar.style.width = `${Math.min(100 - left, (100 * took) / total)}%`;
    return make("li", { class: step.ok ? "" : "failed" }, make("span", {}, step.text),
      make("span", { class: "took" }, seconds(took)), make("span", { class: "bar", "aria-hidden": "true" }, bar));
  });
  const decided = run.find((entry) => entry.kind === "decision");
  return [
    make("h3", {}, "The last change of primary"),
    make("p", { class: "soft" }, `${moment(last.at)}: ${decided ? decided.text : last.text}; ${seconds(total)} in all`),
    make("ol", { class: "steps" }, ...items),
  ];
}

function reasons(why) {
  const decided = why.rules.find((rule) => ["decided", "held up"].includes(rule.standing));
  return [
    make("h3", {}, "Why"),
    make("p", {}, make("strong", {}, why.instance ? `${why.action} ${why.instance}` : why.action), `: ${why.reason} `,
      make("span", { class: "soft" }, `(rule ${decided ? decided.rule : why.rule})`)),
    why.instead_if.length ? make("p", { class: "soft" }, "What would be done instead:") : null,
    make("ul", {}, ...why.instead_if.map((line) => make("li", { class: "soft" }, line))),
    make("details", {}, make("summary", {}, "Every rule"),
      make("pre", {}, why.rules.map((rule) =>
        `${rule.rule}: ${rule.standing}${rule.reason ? `: ${rule.reason}` : ""}` +
        (rule.would_if.length ? `\n    would apply if ${rule.would_if.join(" or ")}` : "")).join("\n"))),
  ];
}

function actions(view) {
  const name = view.name, stateless = view.topology === "stateless";
  const standbys = view.instances.filter((one) => one.name !== view.primary);
  const past = view.last_switchover ? ` The last one took ${seconds(view.last_switchover.seconds)}.` : "";
  const more = view.desired.instances + (view.topology === "replica-set" ? 2 : 1);
  const act = (label, cost, run) =>
    make("button", { type: "button", onclick: () => confirm(`${label}?`, cost, label, run) }, label);
  return make("div", { class: "buttons" },
    stateless ? null : act("Switchover",
      `The best standby takes the place of ${view.primary}, without loss. Clients wait meanwhile, for less than a second as a rule; transactions longer than 5 s are ended.${past}`,
      () => post(`/services/${name}/orders`, { kind: "switchover" })),
    ...standbys.slice(0, 1).map((one) => act(`Restart ${one.name}`,
      `A planned restart. No client is disturbed; until it is back, ${standbys.length > 1 ? "one standby fewer" : "no standby"} could take over.`,
      () => post(`/services/${name}/restart`, { instance: one.name }))),
    view.paused
      ? act("Resume", "The manager acts on the service again.", () => post(`/services/${name}/pause`, { paused: false }))
      : act("Pause", "The manager observes and does nothing: while it is paused nobody takes over for a primary that fails.",
        () => post(`/services/${name}/pause`, { paused: true })),
    act(`Scale to ${more}`,
      `A copy of the data is made for each new instance${stateless ? "" : `, from ${view.primary}, which has to read all of it`}.`,
      () => post("/scale", { targets: [{ service: name, instances: more }] })));
}

function one(view) {
  const rows = view.instances.map((each) => make("tr", {},
    make("td", {}, each.name), make("td", {}, each.role), make("td", {}, each.state),
    make("td", {}, each.lag_seconds === null ? "" : `${each.lag_seconds.toFixed(1)} s`),
    make("td", { class: "wide" }, each.host || ""),
    make("td", { class: "wide" }, each.memory.used_bytes === null ? "" : size(each.memory.used_bytes))));
  const heads = ["instance", "role", "state", "lag"];
  const more = ["host", "memory"].map((head) => make("th", { scope: "col", class: "wide" }, head));
  return [
    make("h2", {}, `${view.name} `, stateOf(view)),
    make("p", {}, view.message),
    ...copies(view),
    topology(view),
    actions(view),
    make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)), ...more)),
      make("tbody", {}, ...rows))),
    view.durability ? make("p", { class: "soft" }, `Durability ${view.durability.mode}: ${view.durability.note}`) : null,
    make("section", { id: "why", "aria-live": "off" }, ...(shown.why ? reasons(shown.why) : [])),
    make("section", { id: "timeline" }, ...(shown.history ? timeline(shown.history) : [])),
    make("p", {}, make("a", { href: "#/" }, "All services")),
  ];
}

async function learn(view) {
  const about = JSON.stringify([view.state, view.message, view.primary, view.term, view.instances.map((each) => each.state)]);
  if (about === shown.about && Date.now() - shown.at < LEARN_MS) return;
  shown.about = about;
  shown.at = Date.now();
  try {
    const [why, history] = await Promise.all([
      ask(`/services/${view.name}/why`), ask(`/services/${view.name}/history?limit=200`)]);
    if (shown.name !== view.name) return;
    shown.why = why;
    shown.history = history;
    replace("why", reasons(why));
    replace("timeline", timeline(history));
  } catch (error) {
    replace("why", [make("p", { class: "problem" }, error.message)]);
  }
}

function replace(id, children) {
  const place = $(id);
  if (!place) return;
  const open = place.querySelector("details[open]") !== null;
  place.replaceChildren(...children.filter((child) => child !== null));
  if (open) place.querySelector("details").open = true;
}

// --- A click that changes something ------------------------------------------------------------

function confirm(title, cost, label, run) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-cost").textContent = cost;
  $("confirm-refused").textContent = "";
  $("confirm-do").textContent = label;
  $("confirm-do").disabled = false;
  $("confirm-do").onclick = async () => {
    $("confirm-do").disabled = true;
    try {
      await run();
      dialog.close();
    } catch (error) {
      $("confirm-refused").textContent = error.message;
    }
  };
  dialog.showModal();
}

// --- What is drawn -----------------------------------------------------------------------------

function draw() {
  const name = decodeURIComponent(location.hash.slice(2));
  const focused = document.activeElement && document.activeElement.textContent;
  if (!name) {
    shown = { why: null, history: null, name: null, about: "", at: 0 };
    $("view").replaceChildren(...all());
  } else {
    const view = services.find((each) => each.name === name);
    if (!view) {
      $("view").replaceChildren(make("p", { class: "problem" }, `There is no service '${name}'.`),
        make("p", {}, make("a", { href: "#/" }, "All services")));
      return;
    }
    if (shown.name !== name) shown = { why: null, history: null, name, about: "", at: 0 };
    const open = document.querySelector("#why details[open]") !== null;
    $("view").replaceChildren(...one(view).filter((child) => child !== null));
    if (open && document.querySelector("#why details")) document.querySelector("#why details").open = true;
    learn(view);
  }
  document.title = name ? `${name} - hamanager` : "hamanager";
  // What had the keyboard keeps it, although it was drawn anew.
  if (focused) {
    const same = [...$("view").querySelectorAll("a, button, summary")].find((node) => node.textContent === focused);
    if (same) same.focus({ preventScroll: true });
  }
}

addEventListener("hashchange", () => { draw(); $("main").focus(); });

if (token) begin();
else enter();
