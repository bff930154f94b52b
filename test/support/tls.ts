/** An authority of a test's own and a certificate of it, made by openssl. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

export interface Certificate {
  /** PEM files. */
  authority: string;
  certificate: string;
  key: string;
  /** The contents of the last two. */
  cert: string;
  keyText: string;
}

/** For 127.0.0.1 and `names`; all files in `folder`. */
export function makeCertificate(folder: string, ...names: string[]): Certificate {
  const files = {
    authority: `${folder}/authority.pem`,
    certificate: `${folder}/certificate.pem`,
    key: `${folder}/key.pem`,
  };
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const authorityKey = `${folder}/authority-key.pem`;
  const isAuthority = 'basicConstraints=critical,CA:TRUE';
  openssl(
    'req',
    '-x509',
    ...curve,
    '-subj',
    '/CN=tests',
    '-addext',
    isAuthority,
    '-keyout',
    authorityKey,
    '-out',
    files.authority,
  );
  openssl('req', '-new', ...curve, '-subj', '/CN=registry', '-keyout', files.key, '-out', `${folder}/request.pem`);
  const subjects = ['IP:127.0.0.1', ...names.map((name) => `DNS:${name}`)].join(',');
  writeFileSync(`${folder}/extensions`, `subjectAltName=${subjects}\n`);
  const signing = ['-CA', files.authority, '-CAkey', authorityKey, '-CAcreateserial', '-days', '2'];
  openssl(
    'x509',
    '-req',
    '-in',
    `${folder}/request.pem`,
    ...signing,
    '-extfile',
    `${folder}/extensions`,
    '-out',
    files.certificate,
  );
  return { ...files, cert: readFileSync(files.certificate, 'utf8'), keyText: readFileSync(files.key, 'utf8') };
}

function openssl(...words: string[]): void {
  const { status, stderr } = spawnSync('openssl', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${words.join(' ')}: ${stderr}`);
}
