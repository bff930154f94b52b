/**
 * What the launchers start: the bundle beside it (its own name with .bundle), with the code that V8 compiled when it was built.
 * Compiling takes 20 ms at every start, loading the compiled code 3. V8 refuses code of another Node; then it compiles.
 */
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const vm = require('node:vm');

const words = process.argv.slice(2);
const takesValue = ['--root', '--run-root', '--log', '--log-format'];
const verb = words.find((word, i) => !word.startsWith('-') && !takesValue.includes(words[i - 1]));
/** `tinyctr run` has a bundle without the other verbs, and without what stops a construction: half the size. */
const stops = words.some((word) => /^--(step|freeze|pause-before|pause-after)(=|$)/.test(word));
const ownBundle = __filename.endsWith('/tinyctr.cjs') && verb === 'run' && !stops;
const filename = __filename.replace(/\.cjs$/, `${ownBundle ? '-run' : ''}.bundle.cjs`);
/** The verbs of a container's life in tinyctr-oci have their own compiled code: of what each of them executes. */
const ownCode = filename.includes('tinyctr-oci.') && ['run', 'create', 'start', 'exec', 'delete'].includes(verb);
/** So has --trace, which would be compiled at each start otherwise: half of what it costs. */
const traced = words.some((word) => word === '--trace' || word.startsWith('--trace='));
const cache = `${filename}${ownCode ? `.${verb}` : ''}${traced && (ownBundle || ownCode) ? '.trace' : ''}.cache`;
const keepCode = process.env.TINYCTR_KEEP_CODE !== undefined; // scripts/build.mjs: compile what is called, and keep it
let cachedData;
try {
  if (!keepCode) cachedData = readFileSync(existsSync(cache) ? cache : `${filename}.cache`);
} catch {
  // not there: V8 compiles
}
if (process.argv.includes('--debug')) process.setSourceMapsEnabled(true);
const script = new vm.Script(readFileSync(filename, 'latin1'), { filename, cachedData });
if (keepCode) process.once('exit', (code) => code === 0 && writeFileSync(cache, script.createCachedData()));
script.runInThisContext()(exports, require, module, filename, __dirname);
