// Depth profiles: a statistic against the sublayer, for all runs at one step or for one run at its chosen
// steps.

/// What the controls at the top of the page choose.
const choice = {
  mode: runs.length > 1 ? 'runs' : 'steps',
  run: 0,
  step: 0,
  relative: false,
  logValues: true
};
const profileSteps = [...new Set(runs.flatMap((run) => run.profile_steps))].sort((a, b) => a - b);
choice.step = profileSteps.length - 1;
const chosenStep = () => profileSteps[choice.step];

/// Lines to draw: {run, step, values, colour, dash, width, name}.
function profileLines(id) {
  if (choice.mode === 'runs') {
    return runs.flatMap((run, i) => {
      const profile = run.profiles[id];
      if (!profile) return [];
      const place = nearestIndex(profile.steps, chosenStep());
      return [{
        run: i,
        step: profile.steps[place],
        values: profile.rows[place],
        colour: runColour(i),
        dash: runDash(i),
        width: 1.8,
        name: run.name
      }];
    });
  }
  const profile = runs[choice.run].profiles[id];
  if (!profile) return [];
  const chosen = nearestIndex(profile.steps, chosenStep());
  const lines = profile.rows.map((values, i) => ({
                                   run: choice.run,
                                   step: profile.steps[i],
                                   values,
                                   colour: rampColour(i, profile.steps.length),
                                   dash: [],
                                   width: i === chosen ? 3 : 1.2,
                                   name: `step ${profile.steps[i]}`,
                                 }));
  // The chosen one above the others.
  return [...lines.slice(0, chosen), ...lines.slice(chosen + 1), lines[chosen]];
}

function profileLegend(id) {
  if (choice.mode === 'runs') {
    if (runs.length < 2) return null;
    return legendList(profileLines(id).map(
        ({name, colour, dash, step}) =>
            ({name: step === chosenStep() ? name : `${name} (step ${step})`, colour, dash})));
  }
  return legendList(
      profileLines(id)
          .sort((a, b) => a.step - b.step)
          .map(
              ({step, colour, width}) =>
                  ({name: width > 2 ? element('strong', {}, String(step)) : String(step), colour})));
}

const depthAxis = {
  boundary: 'sublayer k (last: after all)',
  sublayer: 'sublayer k',
  block: 'block'
};

/// others: ids drawn dashed into the same plot, as a bound over what it bounds. as: the statistic that title
/// and sentence are taken from.
function profileFigure(id, {others = [], rules = [], as = null, wide = false} = {}) {
  const statistic = statistics.get(id);
  const rows =
      (logarithmic) => [id, ...others].flatMap((each, layer) => profileLines(each).flatMap((line, i) => {
        const last = Math.max(line.values.length - 1, 1);
        return line.values
            .map((value, k) => ({
                   series: `${layer}-${i}`,
                   run: line.run,
                   step: line.step,
                   k,
                   x: choice.relative ? k / last : k,
                   value: value === null || (logarithmic && value <= 0) ? null : value,
                   colour: line.colour,
                   dash: layer > 0 ? [5, 3] : line.dash,
                   width: line.width,
                   of: each,
                 }))
            .filter((row) => statistic.shape !== 'sublayer' || row.value !== null || !sparse(line.values));
      }));
  const spec = (width) => {
    const logarithmic = statistic.log && choice.logValues;
    const all = rows(logarithmic);
    const y = valueDomain(all.map((row) => row.value), logarithmic);
    if (!y) return null;
    const x = extent(all.map((row) => row.x));
    return axesSpec({
      width,
      rules: rules.filter((rule) => rule.value >= y[0] && rule.value <= y[1]),
      x: {
        domain: x[0] === x[1] ? [x[0], x[0] + 1] : x,
        title: choice.relative ? 'depth k / K' : depthAxis[statistic.shape]
      },
      y: {type: logarithmic ? 'log' : 'linear', domain: y, title: statistic.unit},
      data: [{name: 'rows', values: all}],
      marks: [{
        type: 'group',
        from: {facet: {name: 'series', data: 'rows', groupby: 'series'}},
        encode: wholePlot,
        marks: [{
          type: 'line',
          from: {data: 'series'},
          clip: true,
          encode: {
            update: {
              x: {scale: 'x', field: 'x'},
              y: {scale: 'y', field: 'value'},
              defined: {signal: 'isValid(datum.value)'},
              stroke: byRun('colour'),
              strokeDash: byRun('dash'),
              strokeWidth: byRun('width')
            }
          }
        }]
      }],
    });
  };
  const numbers = () => ({
    columns: ['run', 'step', depthAxis[statistic.shape], ...(others.length ? ['statistic'] : []), 'value'],
    rows: rows(false).map(
        (row) => [runs[row.run].name, row.step, row.k, ...(others.length ? [row.of] : []), row.value]),
  });
  const node = figure({...statistic, ...as, legend: () => profileLegend(id), spec, numbers}, {wide});
  figures[figures.length - 1].byChoice = true;
  return node;
}

/// Half or more of the values missing: a statistic that only every other sublayer has. Gaps are then bridged.
const sparse = (values) => 2 * values.filter((value) => value === null).length >= values.length - 1;

/// The bar that stays at the top while scrolling.
function controls(redrawChoice, redrawSteps) {
  const stepText = element('output', { id: 'step-text', for: 'step' });
  const slider = element('input', {
    type: 'range',
    id: 'step',
    min: 0,
    max: Math.max(profileSteps.length - 1, 0),
    step: 1,
    value: choice.step
  });
  const showStep = () => {
    stepText.textContent = profileSteps.length ? `step ${chosenStep()}` : 'no step';
    slider.setAttribute('aria-valuetext', stepText.textContent);
  };
  slider.addEventListener('input', () => {
    choice.step = Number(slider.value);
    showStep();
    redrawChoice();
  });
  const lines = [['runs', 'all runs at one step'], ...runs.map((run, i) => [i, `steps of ${run.name}`])];
  const what = select('what', lines, (value) => {
    choice.mode = value === 'runs' ? 'runs' : 'steps';
    if (choice.mode === 'steps') choice.run = Number(value);
    redrawChoice();
  });
  const setChoice = (name) => (on) => {
    choice[name] = on;
    redrawChoice();
  };
  const setLogSteps = (on) => {
    view.logSteps = on;
    redrawSteps();
  };
  showStep();
  const title = 'Depth plots: ';
  return controlGroup(
      'controls', 'What the plots show', runs.length > 1 ? labelled(title, what) : null,
      element('label', {for: 'step', class: 'slider'}, runs.length > 1 ? '' : title, slider, stepText),
      checkbox('log values', choice.logValues, setChoice('logValues')),
      checkbox('relative depth', choice.relative, setChoice('relative')),
      checkbox('log steps', view.logSteps, setLogSteps));
}
