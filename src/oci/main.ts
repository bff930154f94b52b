/** The command line of tinyctr-oci, runc's. What is there so far: its version; every other word is refused by name. */
const version = '0.1.0';
const [word] = process.argv.slice(2);
if (word === '--version' || word === '-v') process.stdout.write(`tinyctr-oci version ${version}\nspec: 1.3.0\n`);
else {
  process.stderr.write(
    `tinyctr-oci: ${word ?? 'a command'}: the OCI life cycle is not there yet; "tinyctr run" makes containers of images\n`,
  );
  process.exitCode = 1;
}
