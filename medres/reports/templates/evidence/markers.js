// Rings on the plots of a finding: where the threshold that is set now would be.
"use strict";
document.addEventListener("medres:threshold", ({ detail }) => {
  const { anchor, threshold, benefit, counts: { tp, up, fn, fp, un, tn } } = detail;
  const [m, n] = [tp + up + fn, fp + un + tn];
  const places = {
    roc: m && n ? [fp / n, tp / m] : null,
    "precision-recall": m && tp + fp ? [tp / m, tp / (tp + fp)] : null,
    "decision-curve": benefit === undefined ? null : [threshold, benefit],
  };
  for (const [plot, place] of Object.entries(places)) {
    const svg = document.querySelector(`svg[aria-labelledby^="${anchor}-${plot}-title "]`);
    if (!svg) continue;
    let ring = svg.querySelector(".moved");
    if (!ring) {
      ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      ring.setAttribute("class", "moved");
      ring.setAttribute("r", "6");
      svg.append(ring);
    }
    ring.style.display = place ? "" : "none";
    if (!place) continue;
    const [x0, y0, x1, y1] = svg.dataset.frame.split(" ").map(Number);
    ring.setAttribute("cx", x0 + (x1 - x0) * place[0]);
    ring.setAttribute("cy", y0 + (y1 - y0) * place[1]);
  }
});
