import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../src/byte-writer.js';
import { writeObjectBody } from '../../../src/sources/json/body.js';

function bodyOf(object: string): string {
  const out = new ByteWriter();
  writeObjectBody(Buffer.from(object), Object.hasOwn(JSON.parse(object), 'virustotal'), out);
  return out.view().toString('utf8');
}

describe('the body of an object', () => {
  it.each([
    ['ends before its closing brace', '{"a":1}', '{"a":1'],
    ['of an empty object', '{ }', '{'],
    [
      'keeps numbers, escapes, order and repeated names',
      '{"b":9223372036854775807,"a":-1.0e+2,"b":"\\u00e9\\/"}',
      '{"b":9223372036854775807,"a":-1.0e+2,"b":"\\u00e9\\/"',
    ],
    ['keeps the blanks of one line', '{ "a" :  [1, 2] , "b":"x  y" }', '{ "a" :  [1, 2] , "b":"x  y"'],
    [
      'loses the white space of several lines',
      '{\r\n\t"a" :  [1,\n 2] ,\n "b":"x  y\\n \\" z"\n}',
      '{"a":[1,2],"b":"x  y\\n \\" z"',
    ],
    ['leaves a verdict out at the end', '{"a":1,"virustotal":{"verdict":"x","y":[{}]}}', '{"a":1'],
    ['leaves a verdict out in front', '{"virustotal":"}" , "a":1}', '{"a":1'],
    ['leaves a verdict out in the middle', '{"a":1, "virustotal":null, "b":2 }', '{"a":1, "b":2'],
    [
      'leaves all verdicts out, however spelled',
      '{"virustotal":1,"virus\\u0074otal":2,"a":{"virustotal":3},"virustotal":-4}',
      '{"a":{"virustotal":3}',
    ],
    ['leaves a verdict out that stands alone', '{ "virustotal" : true }', '{'],
    ['leaves a verdict out over lines', '{\n  "virustotal": {\n    "x": 1\n  },\n  "a": 1\n}', '{"a":1'],
    ['keeps a name that only contains it', '{"virustotal2":1,"x":"virustotal"}', '{"virustotal2":1,"x":"virustotal"'],
  ])('%s', (_name, object, body) => {
    expect(bodyOf(object)).toBe(body);
  });

  it('takes a new verdict and changes nothing else', () => {
    const members = fc.dictionary(fc.oneof(fc.string(), fc.constant('virustotal')), fc.jsonValue({ maxDepth: 2 }));
    fc.assert(
      fc.property(members, fc.constantFrom(0, 1, '\t'), (object, indent) => {
        const { virustotal: _old, ...rest } = object;
        const body = bodyOf(JSON.stringify(object, undefined, indent));

        const withVerdict = `${body}${body === '{' ? '' : ','}"virustotal":1}`;

        expect(JSON.parse(withVerdict)).toEqual(JSON.parse(JSON.stringify({ ...rest, virustotal: 1 })));
        expect(Object.keys(JSON.parse(withVerdict)).at(-1)).toBe('virustotal');
        expect(body).toBe(JSON.stringify(rest).slice(0, -1));
      }),
      { numRuns: 300 },
    );
  });
});
