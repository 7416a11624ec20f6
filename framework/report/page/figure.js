// A figure: title, legend, plot, the sentence that explains it, its source, and its numbers as a table.

// By name: Vega measures labels on a canvas, which does not know what `inherit` is.
const plotFont = 'system-ui, "Liberation Sans", sans-serif';
const vegaConfig = {
  background: null,
  view: {stroke: 'transparent'},
  axis: {
    labelColor: 'var(--ink-soft)',
    titleColor: 'var(--ink-soft)',
    gridColor: 'var(--grid)',
    domainColor: 'var(--axis)',
    tickColor: 'var(--axis)',
    labelFont: plotFont,
    titleFont: plotFont,
    labelFontSize: 11,
    titleFontSize: 11,
    titleFontWeight: 'normal',
    grid: true,
    labelOverlap: 'greedy',
    tickSize: 4,
    titlePadding: 5,
    labelFlush: false,
  },
  legend: {
    labelColor: 'var(--ink-soft)',
    titleColor: 'var(--ink-soft)',
    labelFont: plotFont,
    titleFont: plotFont,
    labelFontSize: 11,
    titleFontSize: 11,
    titleFontWeight: 'normal',
  },
  text: {font: plotFont, fill: 'var(--ink-soft)', fontSize: 11},
};

const figures = [];

/// plot: {title, sentence (text, or a function of the moment), source, definition, field, legend() -> node or
/// null, spec(width) -> Vega specification or null where there is nothing to draw, numbers() -> {columns,
/// rows}}. Drawn later, by drawFigures().
function figure(plot, {wide = false} = {}) {
  const place = element('div', {class: 'plot', role: 'img'}), caption = element('figcaption');
  const legend = element('div', {class: 'legend-place'});
  const numbers = element('details', {class: 'numbers'}, element('summary', {}, 'Numbers and definition'));
  numbers.addEventListener('toggle', () => {
    if (numbers.open) showNumbers(numbers, plot);
  });
  const node = element(
      'figure', {class: wide ? 'wide' : null, id: plot.id || null}, element('h3', {}, plot.title), legend,
      place, caption, numbers);
  figures.push({plot, node, place, caption, legend, numbers, view: null});
  return node;
}

function showNumbers(place, plot) {
  const {columns, rows} = plot.numbers();
  const shown = rows.length <= 120 ?
      rows :
      Array.from({length: 120}, (_, i) => rows[Math.round(i / 119 * (rows.length - 1))]);
  const note =
      rows.length === shown.length ? '' : ` (${shown.length} of ${rows.length} rows; the file has all)`;
  const save = element('button', {type: 'button', click: () => saveText(plot, columns, rows)}, 'Save as CSV');
  const definition = [
    plot.definition ? `Defined as: ${plot.definition}.` : null,
    plot.field ? `In the log: ${plot.field}.` : null
  ];
  place.replaceChildren(
      place.firstChild, element('p', {}, definition.filter(Boolean).join(' ')), element('p', {}, save, note),
      table(columns, shown, {label: `Numbers of: ${plot.title}`}));
}

function saveText(plot, columns, rows) {
  const quote = (cell) => cell === null ? '' :
      /[",\n]/.test(cell)               ? `"${String(cell).replace(/"/g, '""')}"` :
                                          cell;
  const text = [columns, ...rows].map((row) => row.map(quote).join(',')).join('\n') + '\n';
  const link = element('a', {
    href: URL.createObjectURL(new Blob([text], {type: 'text/csv'})),
    download: plot.title.replace(/[^A-Za-z0-9]+/g, '_') + '.csv'
  });
  link.click();
  URL.revokeObjectURL(link.href);
}

function explain({plot, place, caption}) {
  const {sentence, source} = typeof plot.sentence === 'function' ? plot.sentence() : plot;
  caption.replaceChildren(
      sentence + ' ', element('span', {class: 'source'}, source ? `Source: ${source}.` : ''));
  place.setAttribute('aria-label', `${plot.title}. ${sentence}`);
}

async function drawFigure(entry, width) {
  if (entry.view) entry.view.finalize();
  entry.view = null;
  explain(entry);
  const legend = entry.plot.legend ? entry.plot.legend() : null;
  entry.legend.replaceChildren(...(legend ? [legend] : []));
  const spec = entry.plot.spec(Math.max(width, 280));
  if (!spec) {
    entry.place.replaceChildren(
        element('p', {class: 'missing'}, 'Nothing here at this choice of run and step.'));
    return;
  }
  // Drawn aside and put in whole, so that the page does not flicker.
  const aside = document.createElement('div');
  entry.view = new vega.View(
      vega.parse(spec, vegaConfig, {ast: true}),
      {expr: vega.expressionInterpreter, renderer: 'svg', container: aside, hover: false});
  await entry.view.runAsync();
  entry.place.replaceChildren(aside);
  if (entry.numbers.open) showNumbers(entry.numbers, entry.plot);
}

let turns = 0;

/// Draws the figures that pass, top first; the browser may paint in between. A later call takes over those
/// that this one has not come to.
async function drawFigures(passes = () => true) {
  const turn = ++turns, chosen = figures.filter(passes);
  // All at once: to ask for a width after something was drawn makes the browser lay the whole page out again.
  const widths = new Map(chosen.map((entry) => [entry, entry.place.clientWidth]));
  for (const entry of chosen) entry.turn = turn;
  let painted = performance.now();
  for (const entry of chosen) {
    if (entry.turn !== turn) continue;
    await drawFigure(entry, widths.get(entry));
    // Not after each one: laying out and painting a page of this length takes longer than drawing a figure.
    if (performance.now() - painted < 150) continue;
    await new Promise((next) => setTimeout(next, 0));
    painted = performance.now();
  }
}
