// The data of the page, and numbers, names and colours as text.

const report = JSON.parse(document.getElementById('report-data').textContent);
const runs = report.runs;
const statistics = new Map(report.statistics.map((statistic) => [statistic.id, statistic]));
const statisticsOf = (section) => report.statistics.filter((statistic) => statistic.section === section);

/// Base64 of little-endian float32.
function decodeFloats(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; ++i) bytes[i] = letters.charCodeAt(i);
  const view = new DataView(bytes.buffer), values = new Float32Array(letters.length / 4);
  for (let i = 0; i < values.length; ++i) values[i] = view.getFloat32(4 * i, true);
  return values;
}

/// Four significant digits; a dash for what is missing.
function formatNumber(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace('e+', 'e');
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

const count = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;

/// Runs differ by colour and by dash, so that they can be told apart without colour.
const dashes = [[], [8, 3], [4, 2], [9, 3, 3, 3], [3, 3], [12, 4], [6, 2], [9, 2, 2, 2]];
const runColour = (run) => `var(--run-${run % 8})`;
const runDash = (run) => dashes[Math.floor(run / 8 + run) % dashes.length];

/// From the first step to the last.
const rampSize = 13;
const rampColour = (place, places) =>
    `var(--ramp-${places < 2 ? rampSize - 1 : Math.round(place / (places - 1) * (rampSize - 1))})`;

/// Index of the entry of a rising list that is nearest to the value.
function nearestIndex(list, value) {
  let best = 0;
  for (let i = 1; i < list.length; ++i) {
    if (Math.abs(list[i] - value) <= Math.abs(list[best] - value)) best = i;
  }
  return best;
}

/// Smallest and largest finite value that passes.
function extent(values, passes = () => true) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value) || !passes(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? null : [low, high];
}
