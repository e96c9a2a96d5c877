// Tells what cosines stand for, as the report says that admitted an encoder (bct_keras/metrics/odds.py).

import {demand} from "./refusals.js";

const POINTS = 801;

// Returns the value at x on the line through points whose places rise.
export function interpolated(x, at, values) {
  const last = at.length - 1;
  if (x >= at[last]) return values[last];
  if (x <= at[0]) return values[0];
  let low = 0, high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at[middle] <= x) low = middle;
    else high = middle;
  }
  return values[low] + ((values[high] - values[low]) / (at[high] - at[low])) * (x - at[low]);
}

// The share of pairs at each cosine (bct_keras/metrics/calibration.py).
class Curve {
  constructor({cosines, rates}) {
    for (const list of [cosines, rates]) {
      demand(Array.isArray(list) && list.length > 1);
      demand(list.every((each) => typeof each === "number"));
    }
    demand(cosines.length === rates.length && rates.at(-1) > 0 && rates[0] <= 1);
    for (let each = 1; each < rates.length; each++) {
      demand(cosines[each] > cosines[each - 1] && rates[each] < rates[each - 1]);
    }
    this.cosines = cosines;
    this.logs = rates.map(Math.log);
    const last = this.logs.at(-1);
    const tenfold = last + Math.log(10) - 1e-9;
    const start = Math.max(0, this.logs.findLastIndex((log) => log >= tenfold));
    this.fall = (this.logs[start] - last) / (cosines.at(-1) - cosines[start]);
  }
  logRate(cosine) {
    const beyond = Math.max(cosine - this.cosines.at(-1), 0);
    return interpolated(cosine, this.cosines, this.logs) - beyond * this.fall;
  }
}

// How often pairs of one identity, and pairs of two, have so high a cosine.
export class Odds {
  constructor(calibration) {
    const genuine = calibration.genuine;
    demand(genuine && typeof genuine === "object" && !Array.isArray(genuine));
    this.genuine = new Curve(genuine);
    this.impostors = new Curve(calibration);
    this.grid = Array.from({length: POINTS}, (_, place) => -1 + (2 * place) / (POINTS - 1));
    let highest = -Infinity;
    this.onGrid = this.grid.map((cosine) => {
      const odds = this.genuine.logRate(cosine) - this.impostors.logRate(cosine);
      highest = Math.max(highest, odds - 0.1 * cosine);
      return highest + 0.1 * cosine;
    });
  }
}
