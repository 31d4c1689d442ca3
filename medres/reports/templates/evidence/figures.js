// The figures of a threshold, as medres.metrics computes them: the same operations in the same
// order, so that the same double comes out, printed as medres.reports.summary prints it.
"use strict";
const Figures = (() => {
  // Python rounds an exact half to the even digit, toFixed away from 0; all else they round alike.
  function fixed(value, places) {
    const exact = Math.abs(value).toFixed(100);
    const cut = exact.length - 100 + places;
    const halfToEven = /^50*$/.test(exact.slice(cut)) && "02468".includes(exact[cut - 1]);
    if (!halfToEven) return value.toFixed(places);
    return `${value < 0 ? "-" : ""}${exact.slice(0, cut)}`;
  }

  function number(value, percent) {
    const scaled = percent ? value * 100 : value;
    const [places, top] = percent ? [1, 100] : [3, 1];
    const smallest = 10 ** -places;
    let text = fixed(scaled, places);
    if (0 < scaled && scaled < top - 1e-9 && Number(text) >= top) {
      text = `>${fixed(top - smallest, places)}`;
    } else if (scaled > 0 && Number(text) === 0) {
      text = `<${fixed(smallest, places)}`;
    } else if (Number(text) === 0) {
      text = text.replace("-", "");
    }
    return percent ? `${text}%` : text;
  }

  function interval({ low, high }, percent) {
    const between = low < 0 ? " to " : "–";
    return `${number(low, percent).replace("%", "")}${between}${number(high, percent)}`;
  }

  const whole = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

  function wilson(successes, total, z) {
    const centre = successes + (z * z) / 2;
    const half = z * Math.sqrt((successes * (total - successes)) / total + (z * z) / 4);
    const clamp = (x) => Math.min(Math.max(x, 0), 1);
    return {
      value: successes / total,
      low: successes === 0 ? 0 : clamp((centre - half) / (total + z * z)),
      high: successes === total ? 1 : clamp((centre + half) / (total + z * z)),
    };
  }

  function share(successes, total, reason, z) {
    return total === 0 ? { undefined: reason } : wilson(successes, total, z);
  }

  // Logarithmic limits of a likelihood ratio; ½ is added to each cell where one of the two is 0.
  function ratioLimits(positive, { tp, fp, tn, fn }, z) {
    let [above, below] = positive ? [tp, fp] : [fn, tn];
    const added = above === 0 || below === 0;
    if (added) [above, below] = [above + 0.5, below + 0.5];
    const [m, n] = [tp + fn + (added ? 1 : 0), tn + fp + (added ? 1 : 0)];
    const centre = Math.log(above / m) - Math.log(below / n);
    const half = z * Math.sqrt(1 / above - 1 / m + 1 / below - 1 / n);
    return [Math.exp(centre - half), Math.exp(centre + half)];
  }

  // PPV or NPV at another prevalence (Mercaldo, Lau & Zhou 2007).
  function posterior(positive, counts, prevalence, reason, z) {
    const { tp, fp, tn, fn } = counts;
    const [sensitivity, specificity] = [tp / (tp + fn), tn / (tn + fp)];
    const ratio = positive ? sensitivity / (1 - specificity) : (1 - sensitivity) / specificity;
    if (Number.isNaN(ratio)) return { undefined: reason };
    const odds = prevalence / (1 - prevalence);
    const [low, high] = ratioLimits(positive, counts, z);
    const [present, least, most] = [ratio, Math.min(low, ratio), Math.max(high, ratio)].map(
      (r) => 1 - 1 / (1 + odds * r),
    );
    if (positive) return { value: present, low: least, high: most };
    return { value: 1 - present, low: 1 - most, high: 1 - least };
  }

  // Net benefit of flagging at a threshold that is read as a probability (Vickers & Elkin 2006),
  // with the delta method's interval; no case in sight, the rule of three.
  function netBenefit({ tp, fp, tn, fn }, threshold, prevalence, level, z) {
    const [m, n] = [tp + fn, tn + fp];
    const total = m + n;
    const odds = threshold / (1 - threshold);
    let value, error;
    if (prevalence === null) {
      value = tp / total - odds * (fp / total);
      const mean = (tp - odds * fp) / total;
      error = Math.sqrt(Math.max((tp + odds * odds * fp) / total - mean * mean, 0) / total);
    } else {
      const [up, down] = [tp / m, fp / n];
      value = up * prevalence - odds * (down * (1 - prevalence));
      const weight = odds * (1 - prevalence);
      error = Math.sqrt(
        (prevalence * prevalence * up * (1 - up)) / m + (weight * weight * down * (1 - down)) / n,
      );
    }
    if (error <= 0) {
      const rare = 1 - (1 - level) ** (1 / total);
      return { value, low: value - rare * odds, high: value + rare };
    }
    return { value, low: value - z * error, high: value + z * error };
  }

  // How many of 1,000 fall where, in whole cases; what is neither flagged nor cleared is undecided.
  function ofThousand(prevalence, { sensitivity, missed, falseAlarm, specificity }) {
    const round = (x) => Math.floor(x + 0.5);
    const present = round(1000 * prevalence);
    const absent = 1000 - present;
    const [tp, fp] = [round(present * sensitivity), round(absent * falseAlarm)];
    const fn = Math.min(round(present * missed), present - tp);
    const tn = Math.min(round(absent * specificity), absent - fp);
    return { tp, up: present - tp - fn, fn, fp, un: absent - fp - tn, tn };
  }

  return { fixed, number, interval, whole, wilson, share, posterior, netBenefit, ofThousand };
})();
