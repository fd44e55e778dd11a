// Draws the state of the world from /status.json every second. No outside asset, no inline script.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const BOXES = {
  core: [30, 70, 260, 120], gateway: [30, 250, 260, 120], restore: [30, 430, 260, 100],
  linkage: [410, 250, 180, 120], store: [620, 250, 180, 120], issuance: [620, 70, 180, 120],
  recovery: [410, 430, 390, 100],
  center: [920, 70, 250, 110], kiosk: [920, 250, 250, 120], jpki: [920, 430, 250, 100],
};
const FLOWS = [
  ["core", "gateway", "exported", [160, 190, 160, 248], [170, 224]],
  ["gateway", "linkage", "sent", [290, 310, 408, 310], [300, 300]],
  ["linkage", "store", "landed", [590, 310, 618, 310], [584, 242]],
  ["store", "issuance", "fed", [710, 250, 710, 192], [720, 226]],
  ["issuance", "center", "issued", [800, 125, 918, 125], [812, 115]],
  ["center", "kiosk", "printed", [1045, 180, 1045, 248], [1055, 220]],
  ["jpki", "kiosk", "cards", [1045, 430, 1045, 372], [1055, 406]],
  ["store", "recovery", "asked", [710, 370, 710, 428], [720, 404]],
  ["recovery", "restore", "recovered", [410, 480, 292, 480], [332, 470]],
];

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawBox(key, party) {
  const [x, y, width, height] = BOXES[key];
  const box = element("g", { class: `box ${party.state}` });
  box.append(element("rect", { x, y, width, height, rx: 10 }));
  box.append(element("text", { x: x + 14, y: y + 28, class: "name" }, party.name));
  box.append(element("text", { x: x + width - 14, y: y + 28, class: "state", "text-anchor": "end" }, party.label));
  party.figures.slice(0, 3).forEach(([label, value], line) => {
    const at = y + 54 + line * 22;
    box.append(element("text", { x: x + 14, y: at, class: "label" }, label));
    box.append(element("text", { x: x + width - 14, y: at, class: "value", "text-anchor": "end" }, value));
  });
  return box;
}

function drawFlow([, , key, [x1, y1, x2, y2], [tx, ty]], flows) {
  const flow = flows[key] || { text: "", active: false };
  const made = element("g", { class: flow.active ? "flow active" : "flow" });
  made.append(element("line", { x1, y1, x2, y2, "marker-end": "url(#arrow)" }));
  made.append(element("text", { x: tx, y: ty }, flow.text));
  return made;
}

function row(cells, numbers = []) {
  const made = document.createElement("tr");
  cells.forEach((text, index) => {
    const cell = document.createElement(index === 0 ? "th" : "td");
    if (index === 0) cell.scope = "row";
    if (numbers.includes(index)) cell.className = "number";
    cell.textContent = text;
    made.append(cell);
  });
  return made;
}

function link(item) {
  const made = document.createElement("li");
  const anchor = document.createElement("a");
  anchor.href = item.href;
  anchor.textContent = item.text;
  made.append(anchor);
  return made;
}

function show(status) {
  document.getElementById("clock").textContent = status.at;
  const boxes = document.getElementById("boxes");
  boxes.replaceChildren(...Object.keys(BOXES).filter((key) => status.parties[key]).map((key) => drawBox(key, status.parties[key])));
  document.getElementById("flows").replaceChildren(...FLOWS.map((flow) => drawFlow(flow, status.flows)));
  const parties = Object.values(status.parties).map((party) =>
    row([party.place, party.name, party.label, party.figures.map((pair) => pair.join(" ")).join("、")]));
  document.getElementById("parties").replaceChildren(...parties);
  if (status.steps.length) {
    const steps = status.steps.map((step) => row([step.name, step.result, step.count, step.seconds], [2, 3]));
    document.getElementById("steps").replaceChildren(...steps);
  }
  if (status.links.length) {
    const list = document.getElementById("links");
    const wanted = JSON.stringify(status.links);
    // Redrawn only when changed: a link under the keyboard focus must not vanish each second.
    if (list.dataset.drawn !== wanted) {
      list.replaceChildren(...status.links.map(link));
      list.dataset.drawn = wanted;
    }
  }
}

async function refresh() {
  const live = document.getElementById("live");
  try {
    const answer = await fetch("/status.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.json());
    if (live.textContent !== "一秒ごとに更新しています") live.textContent = "一秒ごとに更新しています";
  } catch {
    live.textContent = "つながりません。この環境は止まったようです。";
  }
}

refresh();
setInterval(refresh, 1000);
