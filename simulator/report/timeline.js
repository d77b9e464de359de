"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const D = JSON.parse($("data").textContent);
const canvas = $("chart"), pen = canvas.getContext("2d");
const GUTTER = 190, AXIS = 46, ROW = 13, PAD = 2, HEAD = 16;
const GROUPS = { run: "the run", source: "source", link: "link", replica: "replica" };
// A mark: 0 start, 1 length (ns), 2 kind, 3 label, 4 text, 5 count of a bucket, 6 row.
const FILL = { operation: "--spool", write: "--spool", sync: "--journal", name: "--lag",
  frame: "--state-3", beat: "--state-6", lost: "--bad", outage: "--fault", fault: "--fault",
  process: "--state-1", activity: "--state-8", acknowledged: "--journal", held: "--good",
  breach: "--bad", note: "--muted", bucket: "--state-6" };
const LEGEND = [["write", "write or operation"], ["sync", "sync, acknowledgement"],
  ["name", "change of names"], ["frame", "frame, from sending to arrival"], ["beat", "heartbeat"],
  ["lost", "failed, or never arrived; breach"], ["fault", "fault"], ["activity", "activity"],
  ["bucket", "several events summed up"]];
let view = D.view.slice(), ink = {}, width = 0, height = 0, chosen = null, laneAt = 0;
let wanted = "", hits = [], hit = -1, drag = null, due = false;

// -- rows: marks of a lane that lie over each other in time are put below each other ------

function rowsOf(lane) {
  const disk = lane.name.includes("(disk ");
  const most = lane.group === "link" ? 10 : 3, free = [];
  for (const m of lane.marks) {
    let row;
    const kind = m[2];
    if (disk) {
      row = kind === "bucket" ? (/ syncs?\b/.test(m[4]) ? 1 : / names\b/.test(m[4]) ? 2 : 0)
        : kind === "name" ? 2 : kind === "sync" || m[4].startsWith("sync") ? 1 : 0;
    } else {
      const end = m[0] + Math.max(m[1], 1);
      row = free.findIndex((until) => until <= m[0]);
      // What a breach is about has a row of its own where the others share one.
      const room = free.length < (kind.endsWith(" concerned") ? most + 8 : most);
      if (row < 0) row = room ? free.length : free.indexOf(Math.min(...free));
      free[row] = Math.max(free[row] || 0, end);
    }
    m[6] = row;
    lane.rows = Math.max(lane.rows || 1, row + 1);
  }
  if (disk) { // writes, syncs and names each have their row, if there are any
    const used = [0, 1, 2].filter((row) => lane.marks.some((m) => m[6] === row));
    for (const m of lane.marks) m[6] = used.indexOf(m[6]);
    lane.rows = used.length;
  }
  lane.rows = lane.rows || 1;
}
D.lanes.forEach(rowsOf);
const shown = () => D.lanes.filter((lane) => !lane.hidden);

// -- drawing -----------------------------------------------------------------------------

function readInk() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["--ink", "--muted", "--grid", "--panel", "--stripe", "--bad", "--badfill",
    "--fault", "--font", ...Object.values(FILL)]) ink[name] = style.getPropertyValue(name).trim();
}
function layout() {
  let y = AXIS, group = "";
  for (const lane of shown()) {
    if (lane.group !== group) { group = lane.group; y += group === "run" ? 0 : HEAD; }
    lane.y = y;
    lane.h = lane.rows * ROW + 2 * PAD;
    y += lane.h;
  }
  height = y + 6;
  width = matchMedia("print").matches ? 1060 : canvas.clientWidth || 1200;
  const dots = Math.max(1, window.devicePixelRatio || 1);
  canvas.style.height = height + "px";
  canvas.width = width * dots;
  canvas.height = height * dots;
  pen.setTransform(dots, 0, 0, dots, 0, 0);
}
const xOf = (ns) => GUTTER + (ns - view[0]) / (view[1] - view[0]) * (width - GUTTER);
const nsOf = (x) => view[0] + (x - GUTTER) / (width - GUTTER) * (view[1] - view[0]);
function font(size, weight) { pen.font = (weight || "") + " " + size + "px " + ink["--font"]; }

function seconds(ns, step) {
  const digits = Math.max(0, Math.min(9, -Math.floor(Math.log10(step / 1e9))));
  return (ns / 1e9).toFixed(digits) + " s";
}
function drawAxis() {
  const span = view[1] - view[0], raw = span / Math.max(2, (width - GUTTER) / 110);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
  font(11); pen.textAlign = "center"; pen.textBaseline = "middle";
  for (let t = Math.ceil(view[0] / step) * step; t <= view[1]; t += step) {
    const x = xOf(t);
    pen.fillStyle = ink["--grid"]; pen.fillRect(x, AXIS - 8, 1, height);
    pen.fillStyle = ink["--muted"];
    if (x > GUTTER + 20 && x < width - 24) pen.fillText(seconds(t, step), x, 9);
  }
}
function drawFlags() {
  let last = -99;
  font(11, "bold"); pen.textAlign = "center"; pen.textBaseline = "middle";
  D.flags.map((at, i) => [at, i]).sort((a, b) => a[0] - b[0]).forEach(([at, i]) => {
    const x = xOf(at);
    if (x < GUTTER - 1 || x > width + 1) return;
    const near = Math.min(width - 9, Math.max(x, last + 19));
    last = near;
    pen.strokeStyle = ink["--ink"]; pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(near, 34); pen.lineTo(x, AXIS); pen.stroke();
    pen.fillStyle = ink["--ink"];
    pen.beginPath(); pen.arc(near, 27, 8.5, 0, 7); pen.fill();
    pen.fillStyle = ink["--panel"]; pen.fillText(String(i + 1), near, 27.5);
  });
}
function drawStripe(lane, index) {
  if (index % 2) { pen.fillStyle = ink["--stripe"]; pen.fillRect(0, lane.y, width, lane.h); }
}
function drawLane(lane) {
  pen.save();
  pen.beginPath(); pen.rect(GUTTER, lane.y, width - GUTTER, lane.h); pen.clip();
  for (const [from, to, where] of D.shades) {
    if (where !== lane.group) continue;
    pen.globalAlpha = 0.16; pen.fillStyle = ink["--fault"];
    pen.fillRect(xOf(from), lane.y, Math.max(2, xOf(to) - xOf(from)), lane.h);
    pen.globalAlpha = 1;
  }
  const ends = [], marks = lane.marks;
  font(10); pen.textAlign = "left"; pen.textBaseline = "middle";
  // From the right, so that each label knows how much room it has.
  for (let i = marks.length - 1; i >= 0; i--) {
    const m = marks[i], x = xOf(m[0]), end = xOf(m[0] + m[1]);
    if (end < GUTTER || x > width) continue;
    drawMark(lane, m, x, end, ends[m[6]] === undefined ? width : ends[m[6]]);
    ends[m[6]] = Math.max(x, GUTTER) - 3;
  }
  pen.restore();
}
function drawMark(lane, m, x, end, room) {
  const [kind, concerned] = m[2].split(" "), y = lane.y + PAD + m[6] * ROW, h = ROW - 2;
  const wide = end - x, colour = ink[FILL[kind]] || ink["--muted"];
  const dim = wanted && !m[7];
  pen.globalAlpha = dim ? 0.18 : 1;
  pen.fillStyle = pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  let text = x + 5;
  if (kind === "name") {
    pen.beginPath(); pen.moveTo(x, y + 2); pen.lineTo(x + 4, y + h / 2);
    pen.lineTo(x, y + h - 2); pen.lineTo(x - 4, y + h / 2); pen.fill(); text = x + 7;
  } else if (kind === "held") {
    pen.beginPath(); pen.arc(x, y + h / 2, 3.4, 0, 7); pen.fill(); text = x + 7;
  } else if (kind === "breach" || (kind === "lost" && wide < 3)) {
    const r = kind === "breach" ? 6 : 4;
    pen.lineWidth = kind === "breach" ? 3 : 2;
    pen.beginPath(); pen.moveTo(x - r, y + h / 2 - r); pen.lineTo(x + r, y + h / 2 + r);
    pen.moveTo(x - r, y + h / 2 + r); pen.lineTo(x + r, y + h / 2 - r); pen.stroke();
    text = x + r + 4;
  } else if (kind === "lost") {
    pen.fillStyle = ink["--badfill"];
    pen.fillRect(x, y, wide, h);
    pen.strokeRect(x + 0.75, y + 0.75, Math.max(1, wide - 1.5), h - 1.5);
  } else {
    if (kind === "outage") pen.globalAlpha *= 0.45;
    pen.fillRect(x, y, Math.max(wide, kind === "note" ? 2 : 1.5), h);
  }
  pen.globalAlpha = dim ? 0.3 : 1;
  if (concerned) {
    pen.strokeStyle = ink["--bad"]; pen.lineWidth = 2;
    pen.strokeRect(x - 1, y - 1, Math.max(wide, 3) + 2, h + 2);
  }
  if (m === chosen) {
    pen.strokeStyle = ink["--ink"]; pen.lineWidth = 2;
    pen.strokeRect(x - 3, y - 1.5, Math.max(wide, 2) + 6, h + 3);
  }
  if (m[3]) {
    text = Math.max(text, GUTTER + 4);
    // A label needs its own room: inside of its bar, or up to the next mark.
    const plain = kind === "lost" || wide < 3, need = pen.measureText(m[3]).width;
    const inside = text + need < end - 2, solid = kind === "sync" || kind === "fault";
    if ((inside && !solid) || text + need < room) {
      pen.fillStyle = plain && kind === "breach" ? ink["--bad"] : ink["--ink"];
      const clear = !inside || solid;
      pen.fillText(m[3], clear && wide >= 3 ? Math.max(text, end + 4) + need < room
        ? Math.max(text, end + 4) : -9999 : text, y + h / 2 + 0.5);
    }
  }
  pen.globalAlpha = 1;
}
function drawNames() {
  let group = "";
  pen.textAlign = "left"; pen.textBaseline = "middle";
  shown().forEach((lane, i) => {
    if (lane.group !== group) {
      group = lane.group;
      if (group !== "run") {
        font(11.5, "bold"); pen.fillStyle = ink["--ink"];
        pen.fillText(GROUPS[group].toUpperCase(), 4, lane.y - HEAD / 2);
        pen.fillStyle = ink["--muted"]; pen.fillRect(0, lane.y - 1, width, 1);
      }
    }
    font(12, i === laneAt && document.activeElement === canvas ? "bold" : "");
    pen.fillStyle = ink["--ink"];
    pen.fillText(lane.name, 10, lane.y + lane.h / 2, GUTTER - 16);
  });
}
function draw() {
  due = false;
  pen.fillStyle = ink["--panel"]; pen.fillRect(0, 0, width, height);
  shown().forEach(drawStripe);
  pen.save(); pen.beginPath(); pen.rect(GUTTER, 0, width - GUTTER, height); pen.clip();
  drawAxis();
  shown().forEach(drawLane);
  if (D.breach !== null) {
    pen.strokeStyle = ink["--bad"]; pen.lineWidth = 1.5; pen.setLineDash([5, 4]);
    const x = xOf(D.breach);
    pen.beginPath(); pen.moveTo(x, AXIS - 6); pen.lineTo(x, height); pen.stroke();
    pen.setLineDash([]);
  }
  drawFlags();
  pen.restore();
  drawNames();
}
function redraw() { if (!due) { due = true; requestAnimationFrame(draw); } }
function whole() { layout(); readInk(); draw(); }

// -- moving ------------------------------------------------------------------------------

function look(from, to) {
  const least = 200, edge = D.end * 0.01;
  let span = Math.min(Math.max(to - from, least), D.end + 2 * edge);
  from = Math.min(Math.max(from, -edge), D.end + edge - span);
  view = [from, from + span];
  redraw();
}
function zoom(factor, at) {
  const middle = at === undefined ? (view[0] + view[1]) / 2 : at;
  look(middle - (middle - view[0]) * factor, middle + (view[1] - middle) * factor);
}
function move(share) { const by = (view[1] - view[0]) * share; look(view[0] + by, view[1] + by); }
function show(m) {
  const span = view[1] - view[0];
  if (m[0] < view[0] || m[0] > view[1]) look(m[0] - span / 2, m[0] + span / 2);
}
const wholeRun = () => look(-D.end * 0.01, D.end * 1.01);
// With a little room at both ends, so that what lies there is not cut in half.
const firstView = () => {
  const room = (D.view[1] - D.view[0]) * 0.01;
  look(D.view[0] - room, D.view[1] + room);
};

// -- looking at one event ------------------------------------------------------------------

function words(m, lane) {
  const at = (m[0] / 1e9).toFixed(6) + " s";
  return at + "  " + lane.name + ": " + m[4];
}
function choose(m, lane) {
  chosen = m;
  $("details").textContent = m ? words(m, lane) : "";
  redraw();
}
function under(x, y) {
  const lane = shown().find((l) => y >= l.y && y < l.y + l.h);
  if (!lane || x < GUTTER) return null;
  const row = Math.floor((y - lane.y - PAD) / ROW);
  let best = null, least = 7;
  for (const m of lane.marks) {
    const from = xOf(m[0]), to = xOf(m[0] + m[1]);
    if (to < x - 7) continue;
    if (from > x + 7) break;
    const far = (x < from ? from - x : x > to ? x - to : 0) + (m[6] === row ? 0 : 5)
      + Math.min(1, (to - from) / width);
    if (far < least) { least = far; best = m; }
  }
  return best && [best, lane];
}
function step(by) {
  const lane = shown()[laneAt];
  if (!lane || !lane.marks.length) return;
  let i = lane.marks.indexOf(chosen);
  if (i < 0) i = lane.marks.findIndex((m) => m[0] >= view[0]) - (by > 0 ? 1 : 0);
  const m = lane.marks[Math.min(Math.max(i + by, 0), lane.marks.length - 1)];
  choose(m, lane);
  show(m);
}

// -- search ------------------------------------------------------------------------------

function search(text) {
  wanted = text.trim().toLowerCase();
  hits = []; hit = -1;
  for (const lane of D.lanes) for (const m of lane.marks) {
    m[7] = wanted && (m[3] + "\n" + m[4]).toLowerCase().includes(wanted);
    if (m[7] && !lane.hidden) hits.push([m, lane]);
  }
  hits.sort((a, b) => a[0][0] - b[0][0]);
  $("hits").textContent = wanted ? hits.length + (hits.length === 1 ? " find" : " finds") : "";
  redraw();
}
function nextHit() {
  if (!hits.length) return;
  if (hit < 0) hit = hits.findIndex(([m]) => m[0] >= view[0]) - 1;
  hit = (Math.max(hit, -1) + 1) % hits.length;
  const [m, lane] = hits[hit];
  $("hits").textContent = hit + 1 + " of " + hits.length;
  choose(m, lane);
  show(m);
}

// -- wiring ------------------------------------------------------------------------------

const tip = $("tip");
canvas.addEventListener("wheel", (e) => {
  const across = e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY);
  if (!across && !e.ctrlKey) return; // the page scrolls
  e.preventDefault();
  if (across) move((e.deltaX || e.deltaY) / 900);
  else zoom(Math.exp(e.deltaY / 400), nsOf(Math.max(GUTTER, e.offsetX)));
}, { passive: false });
canvas.addEventListener("pointerdown", (e) => {
  drag = [e.offsetX, view[0], view[1], false];
  canvas.setPointerCapture(e.pointerId);
});
canvas.addEventListener("pointermove", (e) => {
  if (drag) {
    const by = (drag[0] - e.offsetX) / (width - GUTTER) * (drag[2] - drag[1]);
    drag[3] = drag[3] || Math.abs(drag[0] - e.offsetX) > 3;
    tip.hidden = true;
    if (drag[3]) look(drag[1] + by, drag[2] + by);
    return;
  }
  const found = under(e.offsetX, e.offsetY);
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = words(...found);
  tip.style.left = Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  const below = e.clientY + 18, fits = below + tip.offsetHeight < innerHeight;
  tip.style.top = (fits ? below : e.clientY - tip.offsetHeight - 12) + "px";
});
canvas.addEventListener("pointerup", (e) => {
  if (drag && !drag[3]) {
    const lane = shown().findIndex((l) => e.offsetY >= l.y && e.offsetY < l.y + l.h);
    if (lane >= 0) laneAt = lane;
    choose(...(under(e.offsetX, e.offsetY) || [null]));
  }
  drag = null;
});
canvas.addEventListener("pointercancel", () => { drag = null; });
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
canvas.addEventListener("focus", redraw);
canvas.addEventListener("blur", redraw);
canvas.addEventListener("keydown", (e) => {
  const count = shown().length;
  const keys = {
    ArrowLeft: () => move(-0.15), ArrowRight: () => move(0.15),
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
    "0": wholeRun, b: firstView, n: nextHit,
    ArrowUp: () => { laneAt = (laneAt + count - 1) % count; redraw(); },
    ArrowDown: () => { laneAt = (laneAt + 1) % count; redraw(); },
    "[": () => step(-1), "]": () => step(1),
    h: () => { const lane = shown()[laneAt]; if (lane) lane.box.click(); },
    "/": () => $("search").focus(), Escape: () => choose(null),
  };
  if (e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]) return;
  e.preventDefault();
  keys[e.key]();
});
$("first").onclick = firstView;
$("whole").onclick = wholeRun;
$("in").onclick = () => zoom(0.6);
$("out").onclick = () => zoom(1 / 0.6);
$("search").oninput = (e) => search(e.target.value);
$("search").onkeydown = (e) => { if (e.key === "Enter") nextHit(); };
$("next").onclick = nextHit;
for (const button of document.querySelectorAll("[data-at]")) {
  button.onclick = () => {
    const at = Number(button.dataset.at), half = Math.min((view[1] - view[0]) / 2, D.end / 40);
    look(at - half, at + half);
  };
}
for (const lane of D.lanes) {
  const label = document.createElement("label"), box = document.createElement("input");
  box.type = "checkbox"; box.checked = true;
  box.onchange = () => {
    lane.hidden = !box.checked;
    laneAt = Math.max(0, Math.min(laneAt, shown().length - 1));
    search($("search").value);
    whole();
  };
  lane.box = box;
  label.append(box, " " + GROUPS[lane.group] + ": " + lane.name
    + (lane.thinned ? " (summed up in part)" : ""));
  $("lanes").append(label);
}
for (const [kind, text] of LEGEND) {
  const item = document.createElement("span"), chip = document.createElement("i");
  chip.style.background = "var(" + FILL[kind] + ")";
  item.append(chip, text);
  $("legend").append(item);
}
for (const query of ["print", "(prefers-color-scheme: dark)"])
  matchMedia(query).addEventListener("change", whole);
new ResizeObserver(() => { if (canvas.clientWidth !== width && !matchMedia("print").matches) whole(); }).observe(canvas);
firstView();
whole();
})();
