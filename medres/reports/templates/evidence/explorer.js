// Moves the threshold, the band and the prevalence: every figure shown follows from exact counts.
"use strict";
const Explorer = (() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const at = (id) => document.getElementById(`explore-${id}`);
  const state = {};

  // Steps arrive as differences; from here on they are the counts themselves.
  for (const finding of data.findings) {
    for (const key of ["at", "tp", "fp"]) {
      let sum = 0;
      finding[key] = finding[key].map((difference) => (sum += difference));
    }
  }

  const current = () => data.findings[state.finding];
  const unit = (finding) => 10 ** Math.abs(finding.decimals);
  const threshold = (finding, k) =>
    finding.decimals >= 0 ? k / unit(finding) : k * unit(finding);
  const places = (finding) => Math.max(finding.decimals, 0);

  // The step at or above a value: a score is called from its threshold on, so that any value
  // between two steps calls the same rows as the upper one, were no score between them.
  function nearest(finding, value) {
    const k = Math.round(finding.decimals >= 0 ? value * unit(finding) : value / unit(finding));
    return Math.min(Math.max(k, finding.lowest), finding.highest);
  }

  function countsAt(finding, place) {
    if (place.counts) return place.counts;
    let [low, high] = [0, finding.at.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (finding.at[middle] <= place.k) low = middle;
      else high = middle - 1;
    }
    return [finding.tp[low], finding.fp[low]];
  }

  // A place on the scale: a step, or an end that the evaluation names, exact to the last bit.
  const step = (finding, k) => ({ k, value: threshold(finding, k), text: threshold(finding, k).toFixed(places(finding)) });
  const named = (finding, end) => ({ k: nearest(finding, end.value), value: end.value, text: end.text, counts: end.counts });

  function begin(index) {
    const finding = data.findings[index];
    state.finding = index;
    const middle = step(finding, Math.round((finding.lowest + finding.highest) / 2));
    state.upper = finding.locked ? named(finding, finding.locked) : middle;
    state.lower = state.upper;
    state.band = Boolean(finding.band);
    if (finding.band) [state.lower, state.upper] = finding.band.map((end) => named(finding, end));
    state.prevalence = finding.target;
  }

  function compute() {
    const finding = current();
    const [tp, fp] = countsAt(finding, state.upper);
    const [tpLow, fpLow] = countsAt(finding, state.band ? state.lower : state.upper);
    const [m, n] = [finding.positive, finding.negative];
    const counts = { tp, up: tpLow - tp, fn: m - tpLow, fp, un: fpLow - fp, tn: n - fpLow };
    return { finding, counts, ...rates(finding, counts) };
  }

  function rates(finding, c) {
    const [m, n] = [finding.positive, finding.negative];
    const { z, level } = finding;
    const why = data.reasons;
    const strict = { tp: c.tp, fp: c.fp, tn: c.tn + c.un, fn: c.fn + c.up };
    const lax = { tp: c.tp + c.up, fp: c.fp + c.un, tn: c.tn, fn: c.fn };
    const elsewhere = state.prevalence;
    const t = state.upper.value;
    const benefit = !finding.probabilities ? why.notProbabilities
      : !(m && n) ? why.oneClass
      : !(0 < t && t < 1) ? why.noOdds : null;
    return {
      undecided: Figures.share(c.up + c.un, m + n, why.prevalence, z),
      sensitivity: Figures.share(c.tp, m, why.sensitivity, z),
      specificity: Figures.share(lax.tn, n, why.specificity, z),
      sensitivityAtBest: Figures.share(lax.tp, m, why.sensitivity, z),
      specificityAtBest: Figures.share(strict.tn, n, why.specificity, z),
      ppv: elsewhere === null ? Figures.share(c.tp, c.tp + c.fp, why.ppv, z)
        : Figures.posterior(true, strict, elsewhere, why.ppvElsewhere, z),
      npv: elsewhere === null ? Figures.share(c.tn, c.tn + c.fn, why.npv, z)
        : Figures.posterior(false, lax, elsewhere, why.npvElsewhere, z),
      benefit: benefit ? { undefined: benefit }
        : Figures.netBenefit(strict, t, elsewhere, level, z),
    };
  }

  // Text -------------------------------------------------------------------------------------

  // Patients with several rows: Wilson's interval would be too short, and the page says so.
  const atLocked = () => {
    const { locked } = current();
    return locked && !state.band && state.upper.value === locked.value && state.prevalence === null;
  };

  function write(key, figure, percent, locked) {
    let [value, interval] = ["undefined", figure.undefined];
    if (figure.undefined === undefined) {
      value = Figures.number(figure.value, percent);
      interval = Figures.interval(figure, percent);
      if (!current().independent) interval = locked && atLocked() ? locked : "";
    }
    at(`${key}-value`).textContent = value;
    at(`${key}-interval`).textContent = interval;
    const bar = at(`${key}-bar`);
    if (bar) drawBar(bar, figure, interval !== "");
  }

  function drawBar(bar, figure, sure) {
    const defined = figure.undefined === undefined;
    bar.hidden = !defined;
    if (!defined) return;
    bar.style.setProperty("--value", figure.value);
    bar.style.setProperty("--low", sure && current().independent ? figure.low : figure.value);
    bar.style.setProperty("--high", sure && current().independent ? figure.high : figure.value);
  }

  function show() {
    draw();
    announce();
  }

  function draw() {
    const found = compute();
    const { finding, counts } = found;
    const locked = finding.intervals || {};
    for (const key of ["sensitivity", "specificity", "ppv", "npv"]) {
      write(key, found[key], true, locked[key]);
    }
    write("benefit", found.benefit, false, locked.benefit);
    showBand(found);
    for (const key of ["tp", "up", "fn", "fp", "un", "tn"]) {
      at(`count-${key}`).textContent = Figures.whole(counts[key]);
    }
    at("count-with").textContent = Figures.whole(finding.positive);
    at("count-without").textContent = Figures.whole(finding.negative);
    showControls(finding);
    showThousand(finding, counts);
    const detail = { anchor: finding.anchor, counts, threshold: state.upper.value, benefit: found.benefit.value };
    document.dispatchEvent(new CustomEvent("medres:threshold", { detail }));
  }

  function showBand(found) {
    const section = document.getElementById("explore");
    section.classList.toggle("with-band", state.band);
    if (!state.band) return;
    write("undecided", found.undecided, true);
    for (const rate of ["sensitivity", "specificity"]) {
      const best = found[`${rate}AtBest`];
      at(`${rate}-best`).textContent = best.undefined ? "" : Figures.number(best.value, true);
    }
  }

  const percentOf = (finding, place) =>
    (place.k - finding.lowest) / (finding.highest - finding.lowest);

  function showControls(finding) {
    const isLocked = finding.locked && state.upper.value === finding.locked.value;
    const pairs = [["threshold", state.upper], ["lower", state.lower]];
    for (const [id, place] of pairs) {
      const slider = at(id);
      slider.value = place.k;
      slider.setAttribute("aria-valuetext", place.text + (id === "threshold" && isLocked ? ", the locked threshold" : ""));
      if (document.activeElement !== at(`${id}-number`)) at(`${id}-number`).value = place.text;
    }
    const ridge = at("ridge");
    ridge.style.setProperty("--upper", percentOf(finding, state.upper));
    ridge.style.setProperty("--lower", percentOf(finding, state.band ? state.lower : state.upper));
    at("locked").disabled = !finding.locked || (isLocked && !state.band);
    at("locked").textContent = finding.locked ? `Locked ${finding.locked.text}` : "None is locked";
    at("band").checked = state.band;
    at("lower-row").hidden = !state.band;
    showPrevalence(finding);
  }

  const own = (finding) => finding.positive / (finding.positive + finding.negative);

  function showPrevalence(finding) {
    const p = state.prevalence ?? own(finding);
    let index = 0;
    data.prevalences.forEach((value, k) => {
      if (Math.abs(value - p) < Math.abs(data.prevalences[index] - p)) index = k;
    });
    const text = Figures.number(p, true);
    at("prevalence").value = index;
    at("prevalence").setAttribute("aria-valuetext", text + (state.prevalence === null ? ", as in this test" : ""));
    if (document.activeElement !== at("prevalence-number")) {
      at("prevalence-number").value = Figures.fixed(100 * p, 1);
    }
    for (const place of document.querySelectorAll(".at-prevalence")) place.textContent = text;
    at("own").disabled = state.prevalence === null;
    at("own").textContent = `This test’s ${Figures.number(own(finding), true)}`;
    at("target").hidden = finding.target === null;
    if (finding.target !== null) {
      at("target").textContent = `Target ${Figures.number(finding.target, true)}`;
      at("target").disabled = state.prevalence === finding.target;
    }
  }

  function showThousand(finding, c) {
    const [m, n] = [finding.positive, finding.negative];
    const people = Figures.ofThousand(state.prevalence ?? own(finding), {
      sensitivity: m ? c.tp / m : 0,
      missed: m ? c.fn / m : 0,
      falseAlarm: n ? c.fp / n : 0,
      specificity: n ? c.tn / n : 0,
    });
    const order = ["tp", "up", "fn", "fp", "un", "tn"];
    const classes = order.flatMap((key) => Array(people[key]).fill(key));
    at("icons").querySelectorAll("circle").forEach((icon, k) => {
      if (icon.getAttribute("class") !== classes[k]) icon.setAttribute("class", classes[k]);
    });
    for (const key of order) at(`people-${key}`).textContent = Figures.whole(people[key]);
    const present = people.tp + people.up + people.fn;
    const called = people.tp + people.fp;
    at("people-present").textContent = Figures.whole(present);
    at("people-absent").textContent = Figures.whole(1000 - present);
    at("people-called").textContent = Figures.whole(called);
    at("people-right").textContent = Figures.whole(people.tp);
    at("people-wrong").textContent = Figures.whole(people.fn);
    at("people-cleared").textContent = Figures.whole(people.tn + people.fn);
  }

  let waiting;
  function announce() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const rate = (key) => `${at(`${key}-value`).textContent}`;
      at("status").textContent =
        `Threshold ${state.upper.text}: sensitivity ${rate("sensitivity")}, specificity ` +
        `${rate("specificity")}, PPV ${rate("ppv")}, NPV ${rate("npv")}, ` +
        `at a prevalence of ${document.querySelector(".at-prevalence").textContent}.`;
    }, 400);
  }

  // Controls -----------------------------------------------------------------------------------

  function setUpper(place) {
    state.upper = place;
    if (!state.band || state.lower.value > place.value) state.lower = place;
  }

  function setLower(place) {
    state.lower = place;
    if (place.value > state.upper.value) state.upper = place;
  }

  function onNumber(id, take) {
    at(id).addEventListener("change", () => {
      const value = Number(at(id).value);
      if (at(id).value !== "" && Number.isFinite(value)) take(value);
      at(id).blur();
      show();
    });
  }

  function prepareSliders() {
    const finding = current();
    const coarse = Math.max(1, Math.round((finding.highest - finding.lowest) / 1000));
    for (const id of ["threshold", "lower"]) {
      at(id).min = finding.lowest;
      at(id).max = finding.highest;
      at(id).step = coarse;
      at(`${id}-number`).step = threshold(finding, 1).toFixed(places(finding));
    }
    at("ridge-positive").setAttribute("d", finding.ridge.positive);
    at("ridge-negative").setAttribute("d", finding.ridge.negative);
    const mark = at("mark");
    mark.hidden = !finding.locked;
    if (finding.locked) mark.style.setProperty("--place", percentOf(finding, named(finding, finding.locked)));
    for (const place of document.querySelectorAll(".finding-name")) place.textContent = finding.name;
  }

  function start() {
    begin(0);
    prepareSliders();
    at("threshold").addEventListener("input", () => { setUpper(step(current(), Number(at("threshold").value))); show(); });
    at("lower").addEventListener("input", () => { setLower(step(current(), Number(at("lower").value))); show(); });
    at("prevalence").addEventListener("input", () => { state.prevalence = data.prevalences[Number(at("prevalence").value)]; show(); });
    onNumber("threshold-number", (value) => setUpper(step(current(), nearest(current(), value))));
    onNumber("lower-number", (value) => setLower(step(current(), nearest(current(), value))));
    onNumber("prevalence-number", (value) => { if (value > 0 && value < 100) state.prevalence = value / 100; });
    at("locked").addEventListener("click", () => { begin(state.finding); state.band = false; state.lower = state.upper = named(current(), current().locked); show(); });
    at("own").addEventListener("click", () => { state.prevalence = null; show(); });
    at("target").addEventListener("click", () => { state.prevalence = current().target; show(); });
    at("band").addEventListener("change", () => {
      state.band = at("band").checked;
      const finding = current();
      const width = Math.round((finding.highest - finding.lowest) / 20);
      state.lower = state.band ? step(finding, Math.max(finding.lowest, state.upper.k - width)) : state.upper;
      show();
    });
    if (at("finding")) {
      at("finding").addEventListener("change", () => { begin(Number(at("finding").value)); prepareSliders(); show(); });
    }
    draw();
  }

  return { start, state, data, compute };
})();
Explorer.start();
