// The picture of one series: values, their level, the band of the baseline, and lines where something happened.
"use strict";

const place = document.getElementById("plot");
const drawn = JSON.parse(place.dataset.plot);
const said = place.dataset;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const constant = (value) => drawn.at.map(() => value);

function lines(plot) {
  const { ctx, bbox } = plot;
  const line = (at, stroke, dash, text) => {
    const x = plot.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.strokeStyle = stroke;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = stroke;
    ctx.fillText(text, x + 3, bbox.top + 12 * devicePixelRatio);
  };
  ctx.save();
  ctx.textAlign = "left";
  const signs = { release: "R", baseline: "B", case: "!", slot: "⊘", host: "H" };
  for (const mark of drawn.marks) line(mark.at, ink(), [2, 4], signs[mark.kind] ?? "·");
  for (const at of drawn.changes) line(at, colour("--tblr-red"), [], "Δ");
  ctx.restore();
}

const ink = () => getComputedStyle(place).color;
const axis = { stroke: ink, grid: { stroke: "rgb(128 128 128 / 25%)", width: 1 } };
const clock24 = { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false };
const moments = new Intl.DateTimeFormat(document.documentElement.lang, clock24);
const spoken = (at) => moments.format(at * 1000);
const band = drawn.band !== null;
const tint = "rgb(47 179 68 / 15%)";

const plot = new uPlot(
  {
    width: place.clientWidth,
    height: 320,
    axes: [{ ...axis, space: 110, values: (_, at) => at.map(spoken) }, { ...axis, size: 70, label: drawn.unit }],
    series: [
      { label: said.time, value: (_, at) => (at === null ? "–" : spoken(at)) },
      { label: said.value, stroke: () => colour("--tblr-blue"), width: 1, points: { show: true, size: 6 } },
      { label: said.level, stroke: () => colour("--tblr-orange"), width: 2, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) },
      ...(band ? [{ label: said.high, stroke: tint, points: { show: false } }, { label: said.low, stroke: tint, points: { show: false } }] : []),
    ],
    bands: band ? [{ series: [3, 4], fill: tint }] : [],
    hooks: { draw: [lines] },
  },
  [drawn.at, drawn.value, drawn.level, ...(band ? [constant(drawn.band[1]), constant(drawn.band[0])] : [])],
  place,
);

addEventListener("resize", () => plot.setSize({ width: place.clientWidth, height: 320 }));
new MutationObserver(() => plot.redraw()).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
