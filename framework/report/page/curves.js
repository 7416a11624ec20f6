// Curves over steps: one line per run, with a band where several steps are drawn as one point.

const view = {
  logSteps: false
};

/// Powers of ten, thinned where they are many, with 2 and 5 between them where they are few.
function logTicks([low, high]) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const every = Math.max(Math.ceil((last - first) / 8), 1);
  const between = Math.log10(high / low) < 2.5 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = first; power <= last; power += 1) {
    if (power % every === 0) ticks.push(...between.map((digit) => Number(`${digit}e${power}`)));
  }
  const inside = ticks.filter((tick) => low <= tick && tick <= high);
  return inside.length > 1 ? inside : evenTicks(low, high);
}

/// Three to six round numbers at equal distances.
function evenTicks(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 3));
  const step = [5, 2, 1].map((digit) => digit * power).find((size) => size <= (high - low) / 3) || power;
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; ++i) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

/// A specification with axes; marks draw into the scales x and y.
function axesSpec({width, height = 210, x, y, data, marks, rules = []}) {
  const ticks = (scale) =>
      scale.type === 'log' ? {values: logTicks(scale.domain), format: '.5~g'} : {tickCount: 6};
  return {
    width,
    height,
    padding: 2,
    autosize: {type: 'fit', contains: 'padding'},
    data: [...data, {name: 'rules', values: rules}],
    scales: [
      {name: 'x', type: x.type || 'linear', domain: x.domain, range: 'width', nice: false, zero: false},
      {
        name: 'y',
        type: y.type || 'linear',
        domain: y.domain,
        range: 'height',
        nice: y.type !== 'log',
        zero: false
      },
    ],
    axes: [
      {scale: 'x', orient: 'bottom', title: x.title, ...ticks(x), grid: false},
      {scale: 'y', orient: 'left', title: y.title === '1' ? null : y.title, ...ticks(y)},
    ],
    marks: [
      {
        type: 'rule',
        from: {data: 'rules'},
        clip: true,
        encode: {
          update: {
            x: {value: 0},
            x2: {signal: 'width'},
            y: {scale: 'y', field: 'value'},
            stroke: {value: 'var(--rule)'},
            strokeDash: {value: [3, 3]}
          }
        }
      },
      {
        type: 'text',
        from: {data: 'rules'},
        encode: {
          update: {
            x: {signal: 'width - 3'},
            y: {scale: 'y', field: 'value', offset: -4},
            align: {value: 'right'},
            text: {field: 'label'},
            fill: {value: 'var(--ink-soft)'}
          }
        }
      },
      ...marks,
    ],
  };
}

/// Domain for values on a linear or logarithmic axis; null when there is nothing to draw.
function valueDomain(values, logarithmic) {
  const range = extent(values, (value) => !logarithmic || value > 0);
  if (!range) return null;
  const [low, high] = range;
  if (logarithmic) return low === high ? [low / 2, high * 2] : [low / 1.05, high * 1.05];
  if (low === high) return [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  return [low - 0.03 * (high - low), high + 0.03 * (high - low)];
}

function stepDomain(rows) {
  const [low, high] = extent(rows.map((row) => row.x)) || [1, 2];
  return low === high ? [low * 0.9, high * 1.1] : [low, high];
}

const byRun = (channel) => ({signal: `datum.${channel}`});

/// Marks in a group are clipped to the group, which has no size by itself.
const wholePlot = {
  update: {width: {signal: 'width'}, height: {signal: 'height'}}
};

function curveMarks() {
  const line = (field, width, opacity) => ({
    type: 'line',
    from: {data: 'series'},
    clip: true,
    encode: {
      update: {
        x: {scale: 'x', field: 'x'},
        y: {scale: 'y', field},
        defined: {signal: `isValid(datum.${field})`},
        stroke: byRun('colour'),
        strokeDash: byRun('dash'),
        strokeWidth: {value: width},
        strokeOpacity: {value: opacity}
      }
    }
  });
  return {
    type: 'group',
    from: {facet: {name: 'series', data: 'rows', groupby: 'run'}},
    encode: wholePlot,
    marks: [
      {
        type: 'area',
        from: {data: 'series'},
        clip: true,
        encode: {
          update: {
            x: {scale: 'x', field: 'x'},
            y: {scale: 'y', field: 'low'},
            y2: {scale: 'y', field: 'high'},
            defined: {signal: 'isValid(datum.low) && isValid(datum.high)'},
            fill: byRun('colour'),
            fillOpacity: {value: 0.22}
          }
        }
      },
      line('raw', 0.8, 0.4),
      line('value', 1.8, 1),
    ],
  };
}

/// Points beside the curves: {x, value, colour, shape}.
const pointMarks = {
  type: 'symbol',
  from: {data: 'points'},
  encode: {
    update: {
      x: {scale: 'x', field: 'x'},
      y: {scale: 'y', field: 'value'},
      shape: {field: 'shape'},
      size: {value: 42},
      fill: byRun('colour'),
      stroke: {value: 'var(--paper)'},
      strokeWidth: {value: 0.8}
    }
  }
};

/// A series of one record has no line: it is shown as a point.
function lonelyPoints(rows) {
  const counts = new Map();
  for (const row of rows) counts.set(row.run, (counts.get(row.run) || 0) + 1);
  return rows.filter((row) => counts.get(row.run) === 1 && row.value !== null)
      .map((row) => ({...row, shape: 'circle'}));
}

/// Rows of a statistic that a run has over steps. Several steps in one point: raw is the band, else a thin
/// line.
function curveRows(run, curves, id, positive) {
  const curve = curves && curves.values ? curves.values[id] : null;
  if (!curve) return [];
  const keep = (value) => value === null || value === undefined || (positive && value <= 0) ? null : value;
  return curve.mean.map((mean, i) => ({
                          run,
                          x: (curves.first[i] + curves.last[i]) / 2,
                          first: curves.first[i],
                          last: curves.last[i],
                          value: keep(curve.smooth ? curve.smooth[i] : mean),
                          mean,
                          raw: curve.smooth && !curve.min ? keep(mean) : null,
                          low: curve.min ? keep(curve.min[i]) : null,
                          high: curve.max ? keep(curve.max[i]) : null,
                          colour: runColour(run),
                          dash: runDash(run),
                        }));
}

/// points() -> extra symbols; rules: reference lines; curvesOf(run) -> where its curves lie.
function curveFigure(
    id,
    {points = () => [], rules = [], curvesOf = (run) => run.curves, wide = false, legendExtra = []} = {}) {
  const statistic = statistics.get(id);
  const rows = () => runs.flatMap((run, i) => curveRows(i, curvesOf(run), id, statistic.log));
  const spec = (width) => {
    const all = rows(), extra = points();
    const y = valueDomain(
        all.flatMap((row) => [row.value, row.raw, row.low, row.high])
            .concat(extra.map((point) => point.value)),
        statistic.log);
    if (!y) return null;
    const shown = rules.filter(
        (rule) => statistic.log ? rule.value >= y[0] / 3 && rule.value <= y[1] * 30 :
                                  rule.value >= y[0] && rule.value <= y[1]);
    for (const rule of shown) {
      y[0] = Math.min(y[0], rule.value);
      y[1] = Math.max(y[1], rule.value * (statistic.log ? 1.3 : 1));
    }
    return axesSpec({
      width,
      height: wide ? 260 : 210,
      rules: shown,
      x: {type: view.logSteps ? 'log' : 'linear', domain: stepDomain(all), title: 'step'},
      y: {type: statistic.log ? 'log' : 'linear', domain: y, title: statistic.unit},
      data: [{name: 'rows', values: all}, {name: 'points', values: [...lonelyPoints(all), ...extra]}],
      marks: [curveMarks(), pointMarks],
    });
  };
  const legend = () => {
    const lines = runs.length < 2 ?
        [] :
        [...runs.keys()].map((run) => ({name: runs[run].name, colour: runColour(run), dash: runDash(run)}));
    return lines.length + legendExtra.length ? legendList([...lines, ...legendExtra]) : null;
  };
  const numbers = () => ({
    columns: ['run', 'from step', 'to step', 'mean', 'smallest', 'largest', 'moving median'],
    rows: rows().map(
        (row) => [runs[row.run].name, row.first, row.last, row.mean, row.low, row.high, row.value]),
  });
  return figure({...statistic, definition: statistic.definition, legend, spec, numbers}, {wide});
}

const triangle = 'triangle-up', dot = 'circle';
const spikePoints = (id) => () => runs.flatMap(
    (run) => run.spikes[id].points.map(
        ([step, value]) => ({x: step, value, colour: 'var(--alarm)', shape: triangle})));
const lossPoints = () =>
    [...spikePoints('loss')(),
     ...runs.flatMap(
         (run, i) =>
             run.validation.map(([step, value]) => ({x: step, value, colour: runColour(i), shape: dot}))),
];

/// Exponent p with its confidence interval.
function growthFigure() {
  const statistic = statistics.get('growth.exponent');
  const rows = () => runs.flatMap((run, i) => run.growth.step.map((step, j) => ({
                                                                    run: i,
                                                                    x: step,
                                                                    value: run.growth.exponent[j],
                                                                    low: run.growth.low[j],
                                                                    high: run.growth.high[j],
                                                                    raw: null,
                                                                    colour: runColour(i),
                                                                    dash: runDash(i),
                                                                  })));
  const spec = (width) => {
    const all = rows(), range = extent(all.map((row) => row.value));
    if (!range) return null;
    // A wide interval may leave the plot: p is what has to be read.
    const top =
        Math.min(Math.max(2.2, Math.min(1.3 * range[1] + 0.3, extent(all.map((row) => row.high))[1])), 8);
    return axesSpec({
      width,
      rules: [{value: 1, label: 'linear'}, {value: 2, label: 'quadratic'}],
      x: {type: view.logSteps ? 'log' : 'linear', domain: stepDomain(all), title: 'step'},
      y: {domain: [0, top], title: 'p'},
      data: [{name: 'rows', values: all}, {name: 'points', values: lonelyPoints(all)}],
      marks: [curveMarks(), pointMarks],
    });
  };
  const numbers = () => ({
    columns: ['run', 'step', 'class', 'p and interval', 'based on'],
    rows: runs.flatMap(
        (run) => run.growth.step.map(
            (step, j) => [run.name, step, run.growth.class[j], run.growth.text[j], run.growth.basis[j]])),
  });
  return figure({...statistic, legend: () => runLegend(), spec, numbers});
}
