// Parts of the page: elements, tables, legends, controls.

/// element('td', {class: 'x'}, 'text', child, ...). Attributes that are null are left out.
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') {
      node.addEventListener(name, value);
    } else if (value !== null && value !== undefined) {
      node.setAttribute(name, value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/// rows: lists of cells; a cell is a text, a number or a node. The first cell of a row is its heading.
function table(columns, rows, {caption = null, label = null, whole = false} = {}) {
  const cell = (value) => typeof value === 'number' || value === null ? formatNumber(value) : value;
  const isNumber = (value) => typeof value === 'number' || value === null;
  const head = element('tr', {}, ...columns.map((name) => element('th', {scope: 'col'}, name)));
  const body = rows.map(
      (row) => element(
          'tr', {},
          ...row.map(
              (value, i) => i === 0 ?
                  element('th', {scope: 'row'}, cell(value)) :
                  element('td', {class: isNumber(value) ? 'number' : null}, cell(value)))));
  return element(
      'div', {
        class: whole ? 'scroll whole' : 'scroll',
        tabindex: '0',
        role: 'region',
        'aria-label': label || caption
      },
      element(
          'table', {}, caption ? element('caption', {}, caption) : null, element('thead', {}, head),
          element('tbody', {}, ...body)));
}

/// entries: {name, colour, dash}. Lines as they are drawn.
function legendList(entries) {
  return element('ul', {class: 'legend'}, ...entries.map(({name, colour, dash = [], marker = null}) => {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('width', '26');
    svg.setAttribute('height', '10');
    svg.setAttribute('aria-hidden', 'true');
    const shape = document.createElementNS('http://www.w3.org/2000/svg', marker ? 'path' : 'line');
    const attributes = marker ? {d: marker, fill: colour} : {
      x1: 0,
      y1: 5,
      x2: 26,
      y2: 5,
      stroke: colour,
      'stroke-width': 2.5,
      'stroke-dasharray': dash.join(' ')
    };
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
    return element('li', {}, svg, name);
  }));
}
const runLegend = (chosen = runs.keys()) => runs.length < 2 ?
    null :
    legendList(
        [...chosen].map((run) => ({name: runs[run].name, colour: runColour(run), dash: runDash(run)})));

/// options: [value, text]. change(value) is called with the chosen value.
function select(id, options, change) {
  const entries = options.map(([value, text]) => element('option', {value}, text));
  const node = element('select', {id, change: () => change(node.value)}, ...entries);
  return node;
}

function checkbox(text, checked, change) {
  const input = element('input', {type: 'checkbox', change: () => change(input.checked)});
  input.checked = checked;
  return element('label', {}, input, text);
}

/// A group of controls; there is nothing to submit. children may be null.
function controlGroup(className, label, ...children) {
  const submit = (event) => event.preventDefault();
  return element('form', {class: className, 'aria-label': label, submit}, ...children);
}

const labelled = (text, control) => element('label', {for: control.id
}, text, control);
