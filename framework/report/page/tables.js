// Verdicts, the comparison of runs, configurations, events, ranks.

const verdictSign = {
  regular: '✓',
  borderline: '!',
  pathological: '✗'
};

function badge(level) {
  return element(
      'span', {class: `badge ${level}`}, element('span', {'aria-hidden': 'true'}, verdictSign[level] + ' '),
      level);
}

function verdictCard(run, i) {
  const {summary} = run;
  return element(
      'article', {class: 'card'},
      element(
          'h3', {},
          runs.length > 1 ? element('span', {class: 'swatch', style: `background: ${runColour(i)}`}) : null,
          run.name, ' ', badge(summary.verdict)),
      element('p', {class: 'state'}, run.state),
      element(
          'ul', {class: 'reasons'},
          ...summary.reasons.map(
              (reason) => element(
                  'li', {class: reason.level},
                  element('span', {class: 'sign', 'aria-label': reason.level}, verdictSign[reason.level]),
                  reason.text))),
      run.notes.length === 0 ?
          null :
          element(
              'details', {class: 'notes', open: ''}, element('summary', {}, 'About the files of this run'),
              element('ul', {}, ...run.notes.map((note) => element('li', {}, note)))));
}

/// The step is named where it is not the last.
const withStep = (entry, run) => !entry ?
    '–' :
    formatNumber(entry.value) + (entry.step === run.summary.steps ? '' : ` (step ${entry.step})`);
const percent = (value) => value === null ? '–' : `${formatNumber(value)} %`;

/// [what, value of a run, what it is and where it comes from]
const comparison = [
  [
    'Verdict', (run) => badge(run.summary.verdict),
    'worst of the reasons above; the thresholds stand at the end of the page'
  ],
  [
    'Model',
    (run) => `${run.settings['model.placement']}, ${run.settings['model.blocks']} blocks x ${
        run.settings['model.width']}`,
    'placement, depth, width'
  ],
  [
    'Parameters',
    (run) => run.manifest.parameters ? Number(run.manifest.parameters).toLocaleString('en') : '–',
    'manifest.json'
  ],
  [
    'Steps',
    (run) => `${run.summary.steps}${run.summary.planned_steps ? ' of ' + run.summary.planned_steps : ''}`,
    'optimiser updates done'
  ],
  [
    'Ranks', (run) => `${run.manifest.world || '–'} (${run.manifest.compute_dtype || '–'})`,
    'and the arithmetic they compute in'
  ],
  ['Final loss', (run) => run.summary.final_loss, 'mean of the last 1 % of the steps, nats per token'],
  ['Validation loss', (run) => withStep(run.summary.final_validation, run), 'last one taken, nats per token'],
  [
    'Growth class', (run) => run.summary.last_growth ? run.summary.last_growth.text : '–',
    'of the stream\'s entry-wise variance at the last record, by AICc among six models (arXiv 2510.09904)'
  ],
  [
    '… based on', (run) => run.summary.last_growth ? run.summary.last_growth.basis : '–',
    'differences of AICc; below 2 is no difference'
  ],
  [
    '… at the start', (run) => run.summary.first_growth ? run.summary.first_growth.text : '–',
    'the same at the first record'
  ],
  [
    'Loss spikes', (run) => `${run.spikes.loss.count} (${percent(run.spikes.loss.percent)})`,
    'steps 7 or more standard deviations from the mean of the last 1000 (OLMo 2, arXiv 2501.00656)'
  ],
  [
    'Gradient spikes', (run) => `${run.spikes.grad_norm.count} (${percent(run.spikes.grad_norm.percent)})`,
    'the same rule on the gradient norm'
  ],
  [
    'Monitor', (run) => percent(run.summary.monitor_percent),
    'steps at which loss or gradient norm is 6 standard deviations above the last 128 (OLMo-core)'
  ],
  ['Skipped steps', (run) => run.summary.skipped_steps, 'gradient not finite, nothing updated'],
  [
    'Bound used',
    (run) => run.summary.bound ? `${percent(100 * run.summary.bound.share)} (k = ${
                                     run.summary.bound.boundary}, step ${run.summary.bound.step})` :
                                 '–',
    'largest row norm over its proved bound; 100 % less this is the slack'
  ],
  [
    'Largest |x|', (run) => withStep(run.summary.max_abs, run),
    'of all streams and branches; fp16 ends at 65504'
  ],
  [
    'Gradient bottom / top', (run) => withStep(run.summary.gradient_ratio, run),
    '|dL/dx| at the first boundary over the last (arXiv 2002.04745)'
  ],
  ['… farthest from 1', (run) => withStep(run.summary.worst_gradient_ratio, run), 'over all records'],
];

/// Few runs: a column each, and what the rows mean. Many: a row each.
function comparisonTable() {
  if (runs.length <= 4) {
    const shown = comparison.filter(([what]) => runs.length < 3 || what !== '… based on');
    return table(
        ['', ...runs.map((run) => run.name), 'What it is'],
        shown.map(
            ([what, of, meaning]) => [what, ...runs.map(of), element('span', {class: 'source'}, meaning)]),
        {caption: 'The runs in numbers', whole: true});
  }
  const skipped = new Set(['… based on', '… at the start', '… farthest from 1']);
  const shown = comparison.filter(([what]) => !skipped.has(what));
  return element(
      'div', {},
      table(
          ['Run', ...shown.map(([what]) => what)],
          runs.map((run) => [run.name, ...shown.map(([, of]) => of(run))]),
          {caption: 'The runs in numbers', whole: true}),
      element(
          'dl', {class: 'meanings'},
          ...shown.flatMap(([what, , meaning]) => [element('dt', {}, what), element('dd', {}, meaning)])));
}

function spikeTable() {
  const rows = runs.flatMap(
      (run) => [['loss', run.spikes.loss], ['gradient norm', run.spikes.grad_norm]].flatMap(
          ([series, spikes]) =>
              spikes.points.map(([step, value]) => [String(step), run.name, series, value])));
  if (rows.length === 0)
    return element(
        'p', {class: 'nothing'}, 'No value of loss or gradient norm is a spike by the rule of OLMo 2.');
  rows.sort((a, b) => Number(a[0]) - Number(b[0]));
  const all = runs.reduce((sum, run) => sum + run.spikes.loss.count + run.spikes.grad_norm.count, 0);
  return element(
      'details', {}, element('summary', {}, `The ${count(all, 'spike')} as a table`),
      table(['step', 'run', 'series', 'value'], rows.slice(0, 300), {label: 'Spikes'}),
      rows.length < all || rows.length > 300 ? element('p', {}, 'Only the first ones are listed.') : null);
}

function configSection() {
  if (runs.length === 1) {
    const rows = runs[0].chosen_settings;
    if (rows.length === 0)
      return [element('p', {class: 'nothing'}, 'Every setting is a default, or config.toml is missing.')];
    return [table(['key', 'value', 'set by'], rows, {caption: 'Settings that are not defaults'})];
  }
  if (report.differences.length === 0) {
    return [element('p', {class: 'nothing'}, 'The configurations of these runs are the same.')];
  }
  return [table(
      ['key', ...runs.map((run) => run.name)],
      report.differences.map(({key, values}) => [key, ...values.map((value) => element('code', {}, value))]),
      {caption: 'Settings that differ'})];
}

function eventSection() {
  const rows = runs.flatMap(
      (run) => run.events.rows.map(([step, kind, text, time]) => [String(step), run.name, kind, text, time]));
  if (rows.length === 0)
    return [element(
        'p', {class: 'nothing'}, 'No events: nothing was saved, resumed, skipped or found wrong.')];
  rows.sort((a, b) => Number(a[0]) - Number(b[0]));
  const left = runs.reduce((sum, run) => sum + run.events.count, 0) - rows.length;
  return [
    table(['step', 'run', 'kind', 'what', 'when'], rows, {caption: 'Events of the runs'}),
    left > 0 ? element('p', {}, `${left} more are in events.jsonl.`) : null
  ];
}

/// One rank, two, or many: what can be said of them.
function rankSentence(run) {
  const {ranks} = run;
  if (!ranks) return `${run.name}: ranks.jsonl has no gradient norms (log.ranks_every writes them).`;
  if (ranks.world === 1) return `${run.name}: one rank, so there is nothing to compare (n/a).`;
  if (ranks.world === 2)
    return `${run.name}: two ranks; that they differ can be seen, but not which of them is at fault.`;
  return `${run.name}: ${ranks.world} ranks, ${count(ranks.outliers.count, 'outlier')} in ${
      count(ranks.records, 'record')}.`;
}

function rankTable(run) {
  const rows = run.ranks.table.map(
      (row) =>
          [String(row.rank), row.host || '–', row.ratio, String(row.outliers), row.step_seconds,
           row.wait_seconds]);
  const some = rows.length < run.ranks.world ? ` (the ${rows.length} that differ most)` : '';
  return table(
      ['rank', 'host', 'norm / median', 'outliers', 'step time, s', 'waiting, s'], rows,
      {caption: `Ranks of ${run.name}${some}: means over the records`});
}

/// Curves of up to eight ranks, a band over all, crosses for outliers. runOf() -> the run that is shown.
function rankFigure(runOf, id) {
  const statistic = statistics.get(id);
  const ranksOf = () => runs[runOf()].ranks;
  const positive = (value) => value === null || (statistic.log && value <= 0) ? null : value;
  const rows = () => {
    const ranks = ranksOf(), values = ranks.values[id];
    if (!values) return [];
    return [
      ...ranks.step.map((step, j) => ({
                          run: -1,
                          x: step,
                          value: null,
                          raw: null,
                          low: positive(values.band.min[j]),
                          high: positive(values.band.max[j]),
                          colour: 'var(--ink-soft)',
                          dash: []
                        })),
      ...ranks.drawn.flatMap((rank, c) => ranks.step.map((step, j) => ({
                                                           run: c,
                                                           x: step,
                                                           value: positive(values.curves[c][j]),
                                                           raw: null,
                                                           low: null,
                                                           high: null,
                                                           colour: runColour(c),
                                                           dash: runDash(c)
                                                         }))),
    ];
  };
  const points = () => id !== 'ranks.grad_norm' ?
      [] :
      ranksOf()
          .outliers.points.filter(([, , norm]) => norm !== null && norm > 0)
          .map(([step, , norm]) => ({x: step, value: norm, colour: 'var(--alarm)', shape: 'cross'}));
  const spec = (width) => {
    const all = rows(), extra = points();
    const y = valueDomain(
        [...all.flatMap((row) => [row.value, row.low, row.high]), ...extra.map((point) => point.value)],
        statistic.log);
    if (!y) return null;
    return axesSpec({
      width,
      x: {type: view.logSteps ? 'log' : 'linear', domain: stepDomain(all), title: 'step'},
      y: {type: statistic.log ? 'log' : 'linear', domain: y, title: statistic.unit},
      data: [{name: 'rows', values: all}, {name: 'points', values: [...lonelyPoints(all), ...extra]}],
      marks: [curveMarks(), pointMarks]
    });
  };
  const numbers = () => {
    const ranks = ranksOf(), values = ranks.values[id];
    return {
      columns: ['step', 'smallest', 'median', 'largest', ...ranks.drawn.map((rank) => `rank ${rank}`)],
      rows: ranks.step.map(
          (step, j) =>
              [step, values.band.min[j], values.band.median[j], values.band.max[j],
               ...values.curves.map((curve) => curve[j])]),
    };
  };
  const legend = () => legendList(
      ranksOf().drawn.map((rank, c) => ({name: `rank ${rank}`, colour: runColour(c), dash: runDash(c)})));
  return figure({...statistic, legend, spec, numbers});
}

function outlierTable(run) {
  if (!run.ranks || !run.ranks.outliers || run.ranks.outliers.count === 0) return null;
  return element(
      'details', {},
      element('summary', {}, `The ${count(run.ranks.outliers.count, 'outlier')} of ${run.name} as a table`),
      table(
          ['step', 'rank', 'gradient norm', 'robust standard deviations'],
          run.ranks.outliers.points.map(
              ([
                step, rank, norm, deviation
              ]) => [String(step), String(rank), norm, deviation === null ? 'not finite' : deviation]),
          {label: 'Outliers'}));
}
