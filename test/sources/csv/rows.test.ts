import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RowReader } from '../../../src/sources/csv/rows.js';

function rowsOf(text: string, delimiter = ','): { rows: string[][]; isOpen: boolean } {
  const reader = new RowReader(delimiter);
  const rows = text.split('\n').flatMap((line) => {
    const row = reader.addLine(line);
    return row === undefined ? [] : [row];
  });
  return { rows, isOpen: reader.isOpen };
}

function quote(cell: string): string {
  return `"${cell.replaceAll('"', '""')}"`;
}

describe('rows of cells', () => {
  test.each([
    ['plain cells, the last line ended by CRLF', 'a,b,\r', [['a', 'b', '']]],
    ['an empty line', '', [['']]],
    ['delimiters and doubled quotes inside quotes', '"a,""b""",c', [['a,"b"', 'c']]],
    ['line breaks inside quotes as they are', '"a\r\nb\n",c\r', [['a\r\nb\n', 'c']]],
    ['quotes that do not start a cell', 'a"b,c "d",e', [['a"b', 'c "d"', 'e']]],
    ['text behind the quote that ends a cell', '"a"b,"c" ,d', [['ab', 'c ', 'd']]],
    ['an empty quoted cell', '"",""""', [['', '"']]],
  ])('keep %s', (_name, text, expected) => {
    expect(rowsOf(text)).toEqual({ rows: expected, isOpen: false });
  });

  test('are parted by the delimiter that was given', () => {
    expect(rowsOf('a;b,c;"d;e"', ';').rows).toEqual([['a', 'b,c', 'd;e']]);
    expect(rowsOf('a\tb;c', '\t').rows).toEqual([['a', 'b;c']]);
  });

  test('of which one is not closed say so, and can be given up', () => {
    const reader = new RowReader(',');
    expect(reader.addLine('x,"a')).toBeUndefined();
    expect(reader.isOpen).toBe(true);
    reader.reset();
    expect(reader.addLine('b,c')).toEqual(['b', 'c']);
  });

  test('come back as they were written', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', 'é', '"', ',', '\n', '\r', ' ', '¦') });
    fc.assert(
      fc.property(fc.array(fc.array(cell, { minLength: 1 }), { minLength: 1 }), (rows) => {
        const text = rows.map((row) => row.map(quote).join(',')).join('\r\n');
        expect(rowsOf(text)).toEqual({ rows, isOpen: false });
      }),
    );
  });
});
