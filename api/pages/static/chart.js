// A small chart of one measure over seconds: <tx-chart data-label="celsius" data-points="[[0, 45.5], …]">.
"use strict";

class Chart extends HTMLElement {
  connectedCallback() {
    const points = JSON.parse(this.dataset.points);
    const colour = getComputedStyle(this).color;
    const axis = { stroke: colour, grid: { stroke: "rgb(128 128 128 / 20%)" }, ticks: { show: false } };
    const height = 110;
    this.plot = new uPlot(
      {
        width: this.clientWidth || 300,
        height,
        scales: { x: { time: false } },
        legend: { show: false },
        cursor: { points: { size: 6 } },
        axes: [{ ...axis, size: 24 }, { ...axis, size: 48 }],
        series: [{}, { label: this.dataset.label, stroke: "#3b82f6", width: 1.5 }],
      },
      [points.map(([second]) => second), points.map(([, value]) => value)],
      this,
    );
    this.watch = new ResizeObserver(() => this.plot.setSize({ width: this.clientWidth, height }));
    this.watch.observe(this);
  }

  disconnectedCallback() {
    this.watch.disconnect();
    this.plot.destroy();
  }
}

customElements.define("tx-chart", Chart);
