/**
 * What the launchers start: the bundle beside it (its own name with .bundle), with the code that V8 compiled when it was built.
 * Compiling takes 20 ms at every start, loading the compiled code 3. V8 refuses code of another Node; then it compiles.
 */
const { readFileSync, writeFileSync } = require('node:fs');
const vm = require('node:vm');

const filename = __filename.replace(/\.cjs$/, '.bundle.cjs');
const hasFlags = filename.includes('tinyctr-oci.') || process.argv.includes('run'); // which the launcher gives to them
const cache = `${filename}${hasFlags ? '.run' : ''}.cache`;
const keepCode = process.env.TINYCTR_KEEP_CODE !== undefined; // scripts/build.mjs: compile what is called, and keep it
let cachedData;
try {
  if (!keepCode) cachedData = readFileSync(cache);
} catch {
  // not there: V8 compiles
}
if (process.argv.includes('--debug')) process.setSourceMapsEnabled(true);
const script = new vm.Script(readFileSync(filename, 'latin1'), { filename, cachedData });
if (keepCode) process.once('exit', (code) => code === 0 && writeFileSync(cache, script.createCachedData()));
script.runInThisContext()(exports, require, module, filename, __dirname);
