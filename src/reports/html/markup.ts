import { escapeControls } from '../../terminal.js';

/** A piece of HTML that is safe to stand in a page. Only `html` makes one, so that no text becomes markup by mistake. */
export interface Markup {
  readonly markup: string;
}

/** What may stand in a template: text, which is escaped, pieces of HTML, and nothing. */
export type Insertable = string | number | Markup | undefined | readonly Insertable[];

/**
 * A template of HTML. Everything inserted is escaped for elements and for quoted attributes, control and invisible characters become
 * visible `\u{…}`; only pieces that are markup already stay as they are. Undefined inserts nothing.
 */
export function html(texts: TemplateStringsArray, ...values: readonly Insertable[]): Markup {
  let markup = texts[0] ?? '';
  for (const [index, value] of values.entries()) markup += `${insert(value)}${texts[index + 1] ?? ''}`;
  return { markup };
}

/** Text of a log or of VirusTotal, verbatim; what had to be made visible is told apart from a log that writes `\u{202e}` itself. */
export function verbatim(text: string): Markup {
  const parts = text.split(INVISIBLE_RUN).map((part, index) => {
    const escaped = escapeHtml(escapeControls(part));
    // Every second part is a run of what the expression caught.
    return index % 2 === 0 ? escaped : `<i class="esc">${escaped}</i>`;
  });
  return { markup: `<code>${parts.join('')}</code>` };
}

/** What `escapeControls` makes visible. */
const INVISIBLE_RUN = /([\p{Cc}\p{Cs}\p{Cf}\u2028\u2029]+)/u;

const HTML_CHARACTERS = /[&<>"']/g;

const REFERENCES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&#39;'],
]);

function escapeHtml(text: string): string {
  return text.replace(HTML_CHARACTERS, (character) => REFERENCES.get(character) ?? '');
}

function insert(value: Insertable): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return escapeHtml(escapeControls(value));
  if (typeof value === 'number') return String(value);
  if (isList(value)) return value.map(insert).join('');
  return value.markup;
}

function isList(value: Markup | readonly Insertable[]): value is readonly Insertable[] {
  return Array.isArray(value);
}

/** As many pieces as fit into so many bytes of UTF-8, in order. */
export function fitting(pieces: Iterable<Markup>, maxBytes: number): Markup[] {
  const fitted: Markup[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    bytes += Buffer.byteLength(piece.markup);
    if (bytes > maxBytes) break;
    fitted.push(piece);
  }
  return fitted;
}
