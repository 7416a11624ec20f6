// The sections of the page, in order, and the drawing of their figures.

const main = document.getElementById('content'), contents = document.getElementById('contents');

/// children may hold nulls. Returns the section, which is in the page and in the list of contents.
function section(id, title, introduction, ...children) {
  const node = element(
      'section', {id, 'aria-labelledby': `${id}-title`}, element('h2', {id: `${id}-title`}, title),
      introduction ? element('p', {}, introduction) : null, ...children);
  main.append(node);
  contents.append(element('li', {}, element('a', {href: `#${id}`}, title)));
  return node;
}

const grid = (...figures) => element('div', {class: 'grid'}, ...figures);

/// Whether some run has it.
function isLogged(statistic) {
  return runs.some(
      (run) => (run.curves.values && run.curves.values[statistic.id]) || run.profiles[statistic.id] ||
          run.maps[statistic.id]);
}

/// One line about statistics that no run has, and which key would write them.
function missingLine(list) {
  const missing = list.filter((statistic) => !isLogged(statistic));
  if (missing.length === 0) return null;
  const keys = [...new Set(missing.map((statistic) => statistic.written_by))];
  const titles = missing.map((statistic) => statistic.title).join('; ');
  const codes = keys.flatMap((key, i) => [i > 0 ? ', ' : '', element('code', {}, key)]);
  return element(
      'p', {class: 'missing'}, `Not in the log${runs.length > 1 ? 's' : ''}: ${titles}. Written by: `, ...codes, '.');
}

/// Sub-heading of statistics that only some runs have.
function partlyLine(list) {
  const lines = list.filter(isLogged).flatMap((statistic) => {
    const without = runs.filter(
                            (run) => !(run.curves.values && run.curves.values[statistic.id]) &&
                                !run.profiles[statistic.id])
                        .map((run) => run.name);
    return without.length ? [`${statistic.title}: not in ${without.join(', ')}`] : [];
  });
  return lines.length ? element('p', {class: 'missing'}, lines.join('; ') + '.') : null;
}

function depthFigures(list) {
  return grid(...list.filter(isLogged)
                  .filter((statistic) => ['boundary', 'sublayer', 'block'].includes(statistic.shape))
                  .map((statistic) => profileFigure(statistic.id)));
}

function summarySection() {
  section(
      'summary', 'Summary', null, element('div', {class: 'cards'}, ...runs.map(verdictCard)),
      comparisonTable());
}

function lossSection() {
  const list = statisticsOf('loss').filter(isLogged);
  const marks = [
    {name: 'spike', colour: 'var(--alarm)', marker: 'M13 0 L18 9 L8 9 Z'}, {
      name: 'validation',
      colour: runs.length > 1 ? 'var(--ink-soft)' : runColour(0),
      marker: 'M13 1 a4 4 0 1 0 0.01 0 Z'
    }
  ];
  const special = {
    loss: {points: lossPoints, wide: true, legendExtra: marks},
    grad_norm: {points: spikePoints('grad_norm'), legendExtra: marks.slice(0, 1)},
    max_abs: {rules: [{value: 65504, label: 'fp16 ends'}]},
    loss_deviation: {rules: [{value: 6, label: 'a spike'}]},
    grad_norm_deviation: {rules: [{value: 6, label: 'a spike'}]},
  };
  section(
      'loss', 'Loss and spikes', null, missingLine(statisticsOf('loss')), partlyLine(statisticsOf('loss')),
      grid(...list.map((statistic) => curveFigure(statistic.id, special[statistic.id]))), spikeTable());
}

function growthSection() {
  const has = runs.some((run) => run.growth.step.length > 0);
  section(
      'growth', 'Growth over depth', 'Each point below condenses one depth profile into a number.',
      has ? grid(growthFigure(), curveFigure('gradient.ratio', {
                   curvesOf: (run) => run.gradient_ratio,
                   rules: [{value: 1, label: 'even'}]
                 })) :
            missingLine(statisticsOf('growth')));
}

function depthSection() {
  section(
      'depth', 'Depth profiles',
      'The step, and whether the lines are runs or steps, is chosen in the bar at the top of the window.',
      missingLine(statisticsOf('depth')), partlyLine(statisticsOf('depth')),
      depthFigures(statisticsOf('depth')));
}

/// One run: a map per statistic. Several: a map per run, of the statistic that is chosen.
function mapSection() {
  const ids =
      report.statistics.filter((statistic) => runs.some((run) => run.maps[statistic.id]) && statistic.title)
          .map((statistic) => statistic.id);
  if (runs.length > 1) ids.push(...kindMaps.filter((id) => runs.some((run) => run.maps[id])));
  if (ids.length === 0) {
    section(
        'maps', 'Depth against step', null,
        element(
            'p', {class: 'missing'},
            'No depth profile is in the log. Written by: ', element('code', {}, 'log.stability_every'), '.'));
    return;
  }
  mapChoice.statistic = ids[0];
  const set = (name) => (value) => {
    mapChoice[name] = value;
    drawFigures((entry) => entry.isMap);
  };
  const several = runs.length > 1, titles = ids.map((id) => [id, mapStatistic(id).title]);
  const extremes = [['max', 'largest'], ['mean', 'mean'], ['min', 'smallest']];
  const sampled = runs.some((run) => Object.values(run.maps).some((map) => map.max));
  const bar = controlGroup(
      'choices', 'What the heat maps show',
      several ? labelled('Statistic: ', select('statistic', titles, set('statistic'))) : null,
      several ? checkbox('equal colours for equal values of all runs', mapChoice.shared, set('shared')) :
                null,
      sampled ? labelled('Of the records in one column: ', select('extreme', extremes, set('extreme'))) :
                null);
  const mark = (node) => {
    figures[figures.length - 1].isMap = true;
    return node;
  };
  const list = runs.length === 1 ? ids.map((id) => mark(mapFigure(0, () => id))) :
                                   runs.flatMap((run, i) => Object.keys(run.maps).length === 0 ? [] : [
                                     mark(mapFigure(i, () => mapChoice.statistic, {title: run.name}))
                                   ]);
  section(
      'maps', 'Depth against step',
      'Depth upwards, steps to the right, the value as colour: what spreads from a layer is a slanted front.',
      bar.childElementCount ? bar : null, grid(...list));
}

/// One run at a time: that with most outliers first.
function rankSection() {
  const several = [...runs.keys()].filter((i) => runs[i].ranks && runs[i].ranks.world > 1);
  const list = element('ul', {}, ...runs.map((run) => element('li', {}, rankSentence(run))));
  if (several.length === 0) {
    section('ranks', 'Ranks', null, list);
    return;
  }
  const outliers = (i) => runs[i].ranks.outliers.count;
  let run = several.reduce((most, i) => outliers(i) > outliers(most) ? i : most, several[0]);
  const tables = element('div');
  const showTables = () =>
      tables.replaceChildren(...[outlierTable(runs[run]), rankTable(runs[run])].filter(Boolean));
  const which = select('rank-run', several.map((i) => [i, runs[i].name]), (value) => {
    run = Number(value);
    showTables();
    drawFigures((entry) => entry.ofRanks);
  });
  which.value = run;
  const plots = ['ranks.grad_norm', 'ranks.loss'].map((id) => {
    const node = rankFigure(() => run, id);
    figures[figures.length - 1].ofRanks = true;
    return node;
  });
  showTables();
  const bar =
      several.length > 1 ? controlGroup('choices', 'Whose ranks are shown', labelled('Run: ', which)) : null;
  section('ranks', 'Ranks', null, list, bar, grid(...plots), tables);
}

function curveSection(id, title) {
  const list = statisticsOf(id);
  section(
      id, title, null, missingLine(list), partlyLine(list),
      grid(...list.filter(isLogged).map((statistic) => curveFigure(statistic.id))));
}

function boundSection() {
  const list = statisticsOf('bounds'), bound = list[0];
  section(
      'bounds', 'Bounds against measurements', null, missingLine(list), partlyLine(list),
      isLogged(bound) ?
          grid(
              profileFigure('profiles.stream.max_row_norm', {others: ['bounds.row_norm'], as: bound}),
              profileFigure('bounds.share', {rules: [{value: 1, label: 'the bound'}]})) :
          null);
}

function updateSection() {
  const list = statisticsOf('updates');
  const shown = runs.length === 1 ? kindMaps.filter((id) => runs[0].maps[id]) : [];
  const kinds = shown.length ? grid(...shown.map((id) => mapFigure(0, () => id, {wide: true}))) : null;
  section(
      'updates', 'Update / weight',
      runs.length > 1 ? 'By kind of tensor: choose it among the statistics of "Depth against step".' : null,
      missingLine(list.filter((statistic) => statistic.shape === 'block')), depthFigures(list), kinds);
}

function aboutSection() {
  const sampled = runs.map((run) => {
    const maps = Object.values(run.maps), most = (of) => Math.max(0, ...maps.map(of));
    const records = most((map) => map.records), columns = most((map) => map.first.length);
    return element(
        'li', {},
        `${run.name}: ${count(run.curves.records, 'step')} drawn as ${
            count(run.curves.first.length, 'point')}; `,
        `${count(records, 'record')} of depth profiles as ${count(columns, 'column')} of the heat maps; `,
        `exact profiles of ${count(run.profile_steps.length, 'record')}. From ${run.directory}.`);
  });
  const rule = (level) => element('li', {}, badge(level), ' ', report.verdict_rules[level]);
  section(
      'about', 'About this page',
      `Made by ${report.generator} on ${
          report.created} from the logs of the runs; nothing is loaded from a network.`,
      element('h3', {}, 'Down-sampling'),
      element(
          'p', {},
          'Long series are drawn with fewer points, which keep the smallest, the mean and the largest ',
          'value of the records that they stand for, so a spike of one step stays visible; steps of depth ',
          'profiles are the first, the last and some at equal ratios in between. Spikes, growth classes and ',
          'the table of the runs are computed from all records.'),
      element('ul', {}, ...sampled), element('h3', {}, 'Verdict'),
      element(
          'p', {},
          'The worst of the reasons that apply. The thresholds are this program\'s own; a verdict is a ',
          'reason to look, not a proof.'),
      element('ul', {}, ...['pathological', 'borderline', 'regular'].map(rule)));
}

function start() {
  document.getElementById('subtitle').textContent =
      `${runs.map((run) => run.name).join(', ')} · ${report.created} · ${report.generator}`;
  main.append(controls(
      () => drawFigures((entry) => entry.byChoice),
      () => drawFigures((entry) => !entry.byChoice && !entry.isMap)));
  summarySection();
  lossSection();
  growthSection();
  depthSection();
  mapSection();
  rankSection();
  curveSection('noise', 'Gradient noise scale');
  curveSection('sharpness', 'Sharpness');
  boundSection();
  section(
      'attention', 'Attention', null, missingLine(statisticsOf('attention')),
      partlyLine(statisticsOf('attention')), depthFigures(statisticsOf('attention')));
  updateSection();
  section('configuration', 'Configuration', null, ...configSection());
  section('events', 'Events', null, ...eventSection());
  aboutSection();
  return drawFigures();
}

// What a test, or a curious reader, finds on the root element: how many figures, whether all are drawn, in
// what time.
const root = document.documentElement;
start().then(
    () => {
      root.dataset.figures = figures.length;
      root.dataset.drawnAfterMilliseconds = Math.round(performance.now());
      root.dataset.state = 'drawn';
    },
    (fault) => {
      root.dataset.state = 'failed';
      document.querySelector('header').append(
          element('p', {class: 'fault', role: 'alert'}, `This page could not be drawn: ${fault.message}`));
      throw fault;
    });

// Plots follow the width of the window.
let resized = null, width = window.innerWidth;
window.addEventListener('resize', () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  clearTimeout(resized);
  resized = setTimeout(drawFigures, 200);
});
