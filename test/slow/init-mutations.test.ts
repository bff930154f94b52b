/**
 * Each statement of src/core/init that has to do with the stage, left out one after the other: what explain says then must
 * differ from the calls of a real run of the untouched code, for one container at least. No mutated container is ever made.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { build, type Plugin } from 'esbuild';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Case, cases, explain, explainedCalls } from '../integration/explained.ts';
import { Runtime } from '../integration/oci-support.ts';
import { needs } from '../support/need.ts';
import { checkout, Engine } from '../support/tinyctr.ts';

const folder = `${checkout}/src/core/init`;

/** Noticed by none of the containers: a label needs a security module. test/vm/lsm/apparmor.test.mjs notices them, in a VM that has one. */
const notToBeSeen = [/^proc\.ts: (writeLabel\(|stage\.step\({ id: `label |writeFile\(stage, proc, `self\/\${file}`)/];

interface Mutation {
  file: string;
  /** The statement on one line, without blanks that are not needed. */
  text: string;
  code: string;
}

/** Each statement that is an expression with the stage in it; what an error's explanation asks is none of the sequence. */
function mutationsOf(file: string): Mutation[] {
  const code = readFileSync(file, 'utf8');
  const source = ts.createSourceFile(file, code, ts.ScriptTarget.Latest, true);
  const found: Mutation[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAssignment(node) && node.name.getText() === 'explain') return;
    if (ts.isExpressionStatement(node) && /\bstage\b/.test(node.getText())) {
      const [start, end] = [node.getStart(), node.getEnd()];
      const text = node.getText().replace(/\s+/g, ' ');
      found.push({ file, text, code: `${code.slice(0, start)};${code.slice(end)}` });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const mutations = readdirSync(folder).flatMap((name) => mutationsOf(`${folder}/${name}`));

describe('a statement of init left out', needs({ root: true }), () => {
  let engine: Engine;
  let oci: Runtime;
  /** `calls`: what explain says of the untouched code, now that the run has made its mount points. */
  const known: { name: string; one: Case; calls: string }[] = [];

  beforeAll(async () => {
    engine = await new Engine().prepare();
    oci = new Runtime(engine, 'tinyctr-oci');
    for (const [name, make] of Object.entries(cases)) {
      const one = make(engine, oci);
      const explained = explainedCalls(await explain(commandOf(one), one));
      expect(explained, name).toEqual(await one.trace());
      known.push({ name, one, calls: explainedCalls(await explain(commandOf(one), one)).join('\n') });
    }
  }, 400_000);

  afterAll(() => engine.remove());

  const commandOf = ({ program }: Case) => (program === 'tinyctr' ? engine : oci).command;

  async function bundle({ file, code }: Mutation): Promise<void> {
    const mutated: Plugin = {
      name: 'mutated',
      setup: ({ onLoad }) =>
        onLoad({ filter: /\/src\/core\/init\// }, ({ path }) =>
          path === file ? { contents: code, loader: 'ts' } : undefined,
        ),
    };
    await build({
      entryPoints: { tinyctr: `${checkout}/src/cli/main.ts`, 'tinyctr-oci': `${checkout}/src/oci/main.ts` },
      outdir: engine.folder,
      outExtension: { '.js': '.cjs' },
      bundle: true,
      format: 'cjs',
      platform: 'node',
      external: ['ffi-rs', '@yuuang/*', 'pino', 'tar', 'undici', 'fzstd'],
      define: {
        'import.meta.filename': JSON.stringify(`${checkout}/dist/mutated.cjs`),
        'import.meta.dirname': JSON.stringify(`${checkout}/dist`),
      },
      plugins: [mutated],
    });
  }

  /** The name of the container whose explanation is another one now. */
  async function noticedBy(mutation: Mutation): Promise<string | undefined> {
    await bundle(mutation);
    for (const [i, { name, one, calls }] of known.entries()) {
      const [, ...globals] = commandOf(one);
      const command = [process.execPath, `${engine.folder}/${one.program}.cjs`, ...globals];
      const now = await explain(command, one).then(explainedCalls, () => undefined);
      if (now?.join('\n') === calls) continue;
      known.unshift(...known.splice(i, 1)); // the next statement is mostly noticed by the same
      return name;
    }
    return undefined;
  }

  test('nobody notices anything of the untouched code, bundled in the same way', async () => {
    const [{ file }] = mutations as [Mutation];
    expect(await noticedBy({ file, text: '', code: readFileSync(file, 'utf8') })).toBeUndefined();
  }, 400_000);

  test(`${mutations.length} statements, one after the other`, async () => {
    const unseen: string[] = [];
    const seenBy: string[] = [];
    for (const mutation of mutations) {
      const name = await noticedBy(mutation);
      const line = `${mutation.file.slice(folder.length + 1)}: ${mutation.text.slice(0, 100)}`;
      if (name === undefined) unseen.push(line);
      seenBy.push(`${line} -- ${name ?? 'nobody'}`);
    }
    if (process.env.TINYCTR_MUTATIONS) writeFileSync(process.env.TINYCTR_MUTATIONS, `${seenBy.join('\n')}\n`);
    const unknown = unseen.filter((line) => !notToBeSeen.some((known) => known.test(line)));
    expect(unknown).toEqual([]);
    expect(mutations.length).toBeGreaterThan(100);
  }, 1_800_000);
});
