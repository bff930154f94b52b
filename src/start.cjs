/**
 * What the launchers start: the bundle beside it (its own name with .bundle), with the code that V8 compiled when it was built.
 * Compiling takes 20 ms at every start, loading the compiled code 3. V8 refuses code of another Node; then it compiles.
 */
const { readFileSync } = require('node:fs');
const vm = require('node:vm');

const filename = __filename.replace(/\.cjs$/, '.bundle.cjs');
const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(filename, 'utf8')}\n})`;
let cachedData;
try {
  cachedData = readFileSync(`${filename}.cache`);
} catch {
  // not there: V8 compiles
}
if (process.argv.includes('--debug')) process.setSourceMapsEnabled(true);
const script = new vm.Script(source, { filename, cachedData });
script.runInThisContext()(exports, require, module, filename, __dirname);
