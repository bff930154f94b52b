/** Every step, in place of some of each operation. */
import '../integration/oci-killed.test.ts';
