// Figures name CSS variables instead of colours; resolve them for the screen's present scheme and redraw when it changes.
function resolved(value, style) {
  if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
  if (Array.isArray(value)) return value.map((item) => resolved(item, style));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item, style)]));
  return value;
}
function draw() {
  const style = getComputedStyle(document.documentElement);
  for (const [id, figure] of Object.entries(figures)) {
    const { data, layout } = resolved(figure, style);
    Plotly.react(id, data, layout, { displaylogo: false, responsive: true, displayModeBar: false });
  }
}
draw();
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
