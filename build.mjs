import { build } from 'rolldown';

// Modules of this program that a command always needs together stand in one file each: a cached check takes some 25 ms of processor time
// more with a file per module. Packages stay outside, and each module is in one file only, so that its classes are the same for all.
const CHECK =
  /[\\/]src[\\/](byte-writer|clock|config|errors|hash|lookup|package-root|terminal|verdict|commands[\\/](check|shell)|cache[\\/](index|journal|lowdb|shard)|storage[\\/](sorted-members|storage-error))\.ts$/;
const NIGHT =
  /[\\/]src[\\/]((assembly|evidence|judgements|pipeline|ranking|summary)\.ts|(pipeline|sightings|sinks|sources|storage)[\\/].*|commands[\\/](enrich|plan|recheck|run-output)\.ts)$/;

/** Both entries' chunks lie flat in dist, one below the package's root, like the sources. */
await build({
  input: { cli: 'src/cli.ts', index: 'src/index.ts' },
  platform: 'node',
  // Node runs what the sources say; what is lowered may need helpers of a package that is not there.
  transform: { target: 'node20' },
  // That a module is loaded with others although it is asked for lazily is meant.
  checks: { ineffectiveDynamicImport: false },
  logLevel: 'warn',
  external: (id) => !id.startsWith('.') && !id.startsWith('/') && !/^[a-z]:[\\/]/i.test(id),
  output: {
    dir: 'dist',
    format: 'esm',
    chunkFileNames: '[name].js',
    codeSplitting: {
      groups: [
        { name: 'check', test: CHECK },
        { name: 'night', test: NIGHT },
      ],
    },
  },
});
