// Draws the last 24 hours with uPlot from /live/history; colours follow light and dark, the width its place.
"use strict";
(function () {
  const place = document.getElementById("chart");
  if (!place || typeof uPlot === "undefined") return;
  document.getElementById("chart-table").open = false;
  const AGAIN_MS = 30000;
  const HEIGHT = 220;
  const LINES = [
    ["in", "In", "--blue", []],
    ["out", "Out", "--green", []],
    ["refused", "Refused", "--red", [6, 4]],
    ["waiting", "Waiting", "--amber", [2, 3]],
  ];
  let plot = null;
  let data = null;

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function two(number) {
    return String(number).padStart(2, "0");
  }

  function clock(seconds) {
    const then = new Date(seconds * 1000);
    return two(then.getHours()) + ":" + two(then.getMinutes());
  }

  // A line needs two points: one that has no neighbour is a dot.
  function alone(values) {
    const known = (at) => values[at] !== null && values[at] !== undefined;
    return [...values.keys()].filter((at) => known(at) && !known(at - 1) && !known(at + 1));
  }

  function axis(more) {
    return Object.assign({
      stroke: colour("--dim"),
      grid: { stroke: colour("--soft"), width: 1 },
      ticks: { stroke: colour("--edge"), width: 1 },
    }, more);
  }

  function options() {
    return {
      width: Math.max(place.clientWidth, 200),
      height: HEIGHT,
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max((most || 0) * 1.05, 4)] } },
      axes: [
        axis({ values: (_, ticks) => ticks.map(clock) }),
        axis({ size: 52, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 1000000] }),
      ],
      series: [
        { label: "Time", value: (_, at) => (at === null ? "–" : clock(at)) },
      ].concat(LINES.map(([, label, name, dash]) => ({
        label: label,
        stroke: colour(name),
        width: 2,
        dash: dash,
        points: { show: true, size: 5, fill: colour(name), filter: (drawn, index) => alone(drawn.data[index]) },
        value: (_, number) => (number === null ? "–" : String(number)),
      }))),
    };
  }

  function draw() {
    if (!data) return;
    place.hidden = false;
    if (plot) plot.destroy();
    plot = new uPlot(options(), data, place);
  }

  function load() {
    fetch(place.dataset.url, { headers: { accept: "application/json" } })
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
      .then((told) => {
        data = [told.time].concat(LINES.map(([key]) => told[key]));
        if (plot) plot.setData(data); else draw();
      })
      .catch(() => {});
  }

  new ResizeObserver(() => {
    if (plot && place.clientWidth && place.clientWidth !== plot.width) {
      plot.setSize({ width: place.clientWidth, height: HEIGHT });
    }
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  load();
  setInterval(load, AGAIN_MS);
})();
