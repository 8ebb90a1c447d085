import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { messageOf, UsageError } from './errors.js';

/** What rules look at: where files were seen running. */
export interface Whereabouts {
  readonly images: readonly string[];
  readonly hostNames: readonly string[];
}

/** Rules that keep hashes from leaving the machine. */
export interface DoNotAsk {
  /** Differs where the rules differ: what was read under other rules has to be read again. */
  readonly print: string;
  /** The first rule that forbids asking about a file seen there, as it stands in the rules; undefined where asking is allowed. */
  ruleAgainst(whereabouts: Whereabouts): string | undefined;
}

const MAX_BYTES = 1024 * 1024;
const MAX_RULES = 10_000;
const MAX_RULE_LENGTH = 1024;

/**
 * Reads rules, one a line: `path GLOB` or `host GLOB`; empty lines and lines that start with `#` are left out. Case does not
 * matter. In a path `\` and `/` are the same, `*` stays within a folder's name, `**` crosses folders, `?` is one character; all other
 * characters, brackets too, stand for themselves. `host` matches the computer's whole name, or its first label alone.
 * Throws UsageError BAD_SETTING with the line: a rule that is not understood must not count as none.
 */
export function parseDoNotAsk(text: string): DoNotAsk {
  const paths: Rule[] = [];
  const hosts: Rule[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const rule = line.trim();
    if (rule === '' || rule.startsWith('#')) continue;
    const [, kind = '', glob = ''] = /^(path|host)\s+(\S.*)$/i.exec(rule) ?? [];
    if (kind === '' || rule.length > MAX_RULE_LENGTH) {
      throw new UsageError(
        'BAD_SETTING',
        `DO_NOT_ASK: line ${index + 1} is no rule: it takes "path GLOB" or "host GLOB", in at most ${MAX_RULE_LENGTH} characters`,
      );
    }
    if (paths.length + hosts.length >= MAX_RULES) {
      throw new UsageError('BAD_SETTING', `DO_NOT_ASK: more than ${MAX_RULES} rules; use wildcards`);
    }
    if (kind.toLowerCase() === 'path') paths.push({ text: rule, glob: parseGlob(normalSlashes(glob), '\\') });
    else hosts.push({ text: rule, glob: parseGlob(glob, '.') });
  }
  return {
    print: createHash('sha1').update(text).digest('hex'),
    ruleAgainst: ({ images, hostNames }) =>
      firstMatch(paths, images.map(normalSlashes)) ??
      firstMatch(
        hosts,
        hostNames.flatMap((name) => [name, name.split('.', 1)[0] ?? name]),
      ),
  };
}

/** Reads the rules file that `DO_NOT_ASK` names. Throws UsageError BAD_SETTING where it cannot be read or used. */
export function readDoNotAsk(path: string): DoNotAsk {
  let text: string;
  try {
    const status = statSync(path);
    if (!status.isFile() || status.size > MAX_BYTES) throw new Error('it is no file of at most 1 MiB');
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError('BAD_SETTING', `DO_NOT_ASK: ${path} cannot be read (${messageOf(error)})`);
  }
  return parseDoNotAsk(text.replace(/^\ufeff/, ''));
}

interface Rule {
  readonly text: string;
  readonly glob: Glob;
}

/** One step of a glob: a character as it is, any one, any number of them within a name (`*`), or across folders (`**`). */
type Step = { readonly literal: string } | 'one' | 'within' | 'across';

interface Glob {
  readonly steps: readonly Step[];
  /** What `*` and `?` do not cross. */
  readonly separator: string;
}

function firstMatch(rules: readonly Rule[], names: readonly string[]): string | undefined {
  return rules.find(({ glob }) => names.some((name) => isMatch(glob, name)))?.text;
}

function normalSlashes(path: string): string {
  return path.replaceAll('/', '\\');
}

function parseGlob(text: string, separator: string): Glob {
  const steps = (text.toLowerCase().match(/\*{1,}|[^*]/gu) ?? []).map((part): Step => {
    if (part === '?') return 'one';
    if (part === '*') return 'within';
    return part.startsWith('*') ? 'across' : { literal: part };
  });
  return { steps, separator };
}

/**
 * Follows all ways to match at once, so that a name costs at most its length times the glob's: names come from attackers, and a
 * regular expression tries the ways one after the other.
 */
function isMatch({ steps, separator }: Glob, name: string): boolean {
  let reached = withSkips(steps, new Set([0]));
  for (const character of name.toLowerCase()) {
    const next = new Set<number>();
    for (const at of reached) {
      const step = steps[at];
      if (step === undefined) continue;
      if (step === 'across' || (step === 'within' && character !== separator)) next.add(at);
      else if (step === 'one' ? character !== separator : typeof step === 'object' && step.literal === character) {
        next.add(at + 1);
      }
    }
    if (next.size === 0) return false;
    reached = withSkips(steps, next);
  }
  return reached.has(steps.length);
}

/** A `*` may stand for nothing, so what comes after it is reached as well. */
function withSkips(steps: readonly Step[], reached: Set<number>): Set<number> {
  // A set goes on to what is added to it meanwhile.
  for (const at of reached) if (steps[at] === 'within' || steps[at] === 'across') reached.add(at + 1);
  return reached;
}
