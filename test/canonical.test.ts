import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../src/byte-writer.js';
import { writeCanonicalBody } from '../src/canonical.js';

const bodyOf = (recordId: string): string => {
  const out = new ByteWriter();
  const nothing = { provider: undefined, channel: undefined, computer: undefined, timeCreated: undefined };
  writeCanonicalBody({ eventId: 1, recordId, ...nothing, data: new Map() }, out);
  return out.view().toString('utf8');
};

describe('the canonical form', () => {
  it('has a record id of 64 bits digit by digit', () => {
    expect(bodyOf('18446744073709551615')).toBe('{"EventID":1,"EventRecordID":18446744073709551615,"EventData":{}');
  });

  it.each([
    ['007', '{"EventID":1,"EventRecordID":7,"EventData":{}'],
    ['000', '{"EventID":1,"EventRecordID":0,"EventData":{}'],
    ['0', '{"EventID":1,"EventRecordID":0,"EventData":{}'],
    ['0x1', '{"EventID":1,"EventData":{}'],
    ['', '{"EventID":1,"EventData":{}'],
  ])('is JSON with a record id of %j', (recordId, body) => {
    expect(bodyOf(recordId)).toBe(body);
    expect(JSON.parse(`${body}}`)).toMatchObject({ EventID: 1 });
  });
});
