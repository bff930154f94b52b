/** Every step, in place of some of each operation. */
import '../integration/volumes-killed.test.ts';
