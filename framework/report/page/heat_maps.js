// Heat maps: depth against step, one pixel per value, as an image under Vega's axes.

const mapChoice = {
  extreme: 'max',
  statistic: null,
  shared: true
};
const pixelColumns = 320;

/// Kinds of tensors are rows of a statistic that has one value per tensor.
const kindMaps = ['kind.update_ratio', 'kind.adam_lag'];
const mapStatistic = (id) => statistics.get(kindMaps.includes(id) ? id.replace('kind.', 'tensors.') : id);

const decodedMaps = new WeakMap();

/// A run's map of a statistic by column (records) and row (depth): {columns, records, values, first, last}.
function mapOf(run, id) {
  const map = run.maps[id];
  if (!map) return null;
  const extreme = map[mapChoice.extreme] ? mapChoice.extreme : 'mean';
  if (!decodedMaps.has(map)) decodedMaps.set(map, {});
  const decoded = decodedMaps.get(map);
  if (!decoded[extreme]) decoded[extreme] = decodeFloats(map[extreme]);
  return {
    columns: map.columns,
    records: map.first.length,
    values: decoded[extreme],
    first: map.first,
    last: map.last
  };
}

/// Colour range shared by runs, so that equal colours are equal values.
function colourRange(maps, logarithmic) {
  let low = Infinity, high = -Infinity;
  for (const map of maps) {
    for (const value of map.values) {
      if (!Number.isFinite(value) || (logarithmic && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return null;
  if (!logarithmic) {
    const size = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return low < 0 ? [-size, size] : [low, high > low ? high : low + 1];
  }
  return low === high ? [low / 2, high * 2] : [low, high];
}

/// 256 colours of a scheme as [red, green, blue].
function colourTable(scheme) {
  return Array.from({length: 256}, (_, i) => {
    const colour = scheme(i / 255);  // "#440154" or "rgb(68, 1, 84)"
    return colour.startsWith('#') ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) :
                                    colour.match(/\d+/g).map(Number);
  });
}
const viridisColours = colourTable(vega.scheme('viridis')),
      divergingColours = colourTable(vega.scheme('redblue'));

/// PNG as a data URL. Columns are steps at equal distances: each shows the record that covers it.
function mapImage(map, [low, high], logarithmic, colours) {
  const canvas = document.createElement('canvas');
  canvas.width = map.records < 2 ? 1 : pixelColumns;
  canvas.height = map.columns;
  const context = canvas.getContext('2d'), image = context.createImageData(canvas.width, canvas.height);
  const from = logarithmic ? Math.log(low) : low, range = (logarithmic ? Math.log(high) : high) - from;
  // Index of the colour of every value; -1 is transparent.
  const places = Int16Array.from(map.values, (value) => {
    const place = ((logarithmic ? Math.log(value) : value) - from) / range;
    return Number.isFinite(place) ? Math.round(255 * Math.min(Math.max(place, 0), 1)) : -1;
  });
  const begin = map.first[0], end = map.last[map.records - 1];
  let record = 0;
  for (let x = 0; x < canvas.width; ++x) {
    const step = begin + (x + 0.5) / canvas.width * (end - begin);
    while (record + 1 < map.records && map.first[record + 1] <= step) ++record;
    for (let k = 0; k < map.columns; ++k) {
      const place = places[record * map.columns + k];
      if (place < 0) continue;
      const at = 4 * ((map.columns - 1 - k) * canvas.width + x);
      [image.data[at], image.data[at + 1], image.data[at + 2]] = colours[place];
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/// idOf() -> the statistic that is shown at the moment.
function mapFigure(run, idOf, {title, wide = false} = {}) {
  const labels = () => kindMaps.includes(idOf()) ? runs[run].kinds : null;
  const current = () => {
    const id = idOf();
    const statistic = mapStatistic(id);
    const map = mapOf(runs[run], id);
    const all =
        [...(mapChoice.shared ? runs.keys() : [run])].map((other) => mapOf(runs[other], id)).filter(Boolean);
    return {statistic, map, range: map ? colourRange(all, statistic.log) : null};
  };
  const spec = (width) => {
    const {statistic, map, range} = current();
    if (!map || !range || map.records === 0) return null;
    const scheme = !statistic.log && range[0] < 0 ? 'redblue' : 'viridis';
    const begin = map.first[0], end = Math.max(map.last[map.records - 1], begin + 1);
    const names = labels();
    const y = names ? {name: 'y', type: 'band', domain: [...names].reverse(), range: 'height'} : {
      name: 'y',
      type: 'linear',
      domain: [-0.5, map.columns - 0.5],
      range: 'height',
      zero: false,
      nice: false
    };
    return {
      width,
      height: names ? Math.max(16 * names.length + 46, 160) : 240,
      padding: 2,
      autosize: {type: 'fit', contains: 'padding'},
      data: [{
        name: 'image',
        values: [
          {url: mapImage(map, range, statistic.log, scheme === 'redblue' ? divergingColours : viridisColours)}
        ]
      }],
      scales: [
        {name: 'x', type: 'linear', domain: [begin, end], range: 'width', zero: false, nice: false}, y,
        {name: 'colour', type: statistic.log ? 'log' : 'linear', domain: range, range: {scheme}, zero: false}
      ],
      axes: [
        {scale: 'x', orient: 'bottom', title: 'step', grid: false, tickCount: 6, format: 'd'}, {
          scale: 'y',
          orient: 'left',
          title: names ? null : depthAxis[statistic.shape],
          grid: false,
          tickCount: 6,
          format: names ? undefined : 'd'
        }
      ],
      legends: [{
        fill: 'colour',
        type: 'gradient',
        orient: 'right',
        title: statistic.unit === '1' ? null : statistic.unit,
        gradientLength: 130,
        tickCount: 4,
        format: '.3~g',
        gradientThickness: 12
      }],
      marks: [{
        type: 'image',
        from: {data: 'image'},
        encode: {
          update: {
            x: {value: 0},
            y: {value: 0},
            width: {signal: 'width'},
            height: {signal: 'height'},
            url: {field: 'url'},
            aspect: {value: false},
            smooth: {value: false}
          }
        }
      }],
    };
  };
  const numbers = () => {
    const {map} = current();
    const places = Array.from(
        {length: Math.min(map.records, 12)},
        (_, i) => Math.round(i / Math.max(Math.min(map.records, 12) - 1, 1) * (map.records - 1)));
    const names = labels();
    return {
      columns: [
        'row',
        ...places.map(
            (i) => map.first[i] === map.last[i] ? `step ${map.first[i]}` :
                                                  `steps ${map.first[i]}–${map.last[i]}`)
      ],
      rows: Array.from(
          {length: map.columns},
          (_, k) => [names ? names[k] : String(k), ...places.map((i) => map.values[i * map.columns + k])]),
    };
  };
  const plot = {
    ...current().statistic,
    title: title || current().statistic.title,
    spec,
    numbers,
    sentence: () => current().statistic
  };
  return figure(plot, {wide});
}
