// Vega from Debian's UMD files: a CommonJS `require` over vegaModules (name -> factory), and the transforms
// registered as the index.js of node-vega does. Expressions are interpreted, so the page needs no eval.
'use strict';

const vega = (() => {
  const otherNames = {'vega-selections': 'vega-selection'};
  const loaded = {};
  function require(wanted) {
    const name = otherNames[wanted] || wanted;
    if (!loaded[name]) {
      if (!vegaModules[name]) throw new Error('module ' + name + ' is not in this page');
      const module = {exports: {}};
      loaded[name] = module.exports;
      vegaModules[name](module.exports, module, require, undefined);
    }
    return loaded[name];
  }
  Object.assign(
      require('vega-dataflow').transforms, require('vega-transforms'), require('vega-view-transforms'),
      require('vega-encode'));
  return {
    View: require('vega-view').View,
    parse: require('vega-parser').parse,
    expressionInterpreter: require('vega-interpreter').expressionInterpreter,
    scheme: require('vega-scale').scheme,
  };
})();
