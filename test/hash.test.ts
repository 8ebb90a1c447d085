import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { algorithmOf, isPlaceholder, lookupKeyOf, parseDigest, parseHashes } from '../src/hash.js';

const SHA1 = '3395856ce81f2b7382dee72602f798b642f14140';
const MD5 = '44d88612fea8a8f36de82e1278abb02f';
const SHA256 = '275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f';

describe('parseHashes', () => {
  it('reads all algorithms in any order and case, and lower-cases digests', () => {
    const field = `MD5=${MD5.toUpperCase()},sha256=${SHA256}, SHA1=${SHA1.toUpperCase()},IMPHASH=${MD5}`;
    expect(parseHashes(field)).toEqual({ sha1: SHA1, md5: MD5, sha256: SHA256 });
  });

  it('never takes an IMPHASH for an MD5 or a SHA256 for a SHA1', () => {
    expect(parseHashes(`IMPHASH=${MD5}`)).toEqual({});
    expect(parseHashes(`SHA1=${SHA256},SHA256=${SHA1}`)).toEqual({});
  });

  it.each(['', '-', 'Unknown', 'SHA1=', 'SHA1=0123', `SHA1=${SHA1}0`, `SHA1=g${SHA1.slice(1)}`, SHA1])(
    'finds nothing in %j',
    (field) => {
      expect(parseHashes(field)).toEqual({});
    },
  );

  it('survives any text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const hash of Object.values(parseHashes(text))) expect(algorithmOf(hash)).toBeDefined();
      }),
    );
  });
});

describe('lookupKeyOf', () => {
  it('prefers SHA1, then SHA256, then MD5', () => {
    expect(lookupKeyOf({ sha1: SHA1, sha256: SHA256, md5: MD5 })).toEqual({ algorithm: 'sha1', hash: SHA1 });
    expect(lookupKeyOf({ sha256: SHA256, md5: MD5 })).toEqual({ algorithm: 'sha256', hash: SHA256 });
    expect(lookupKeyOf({ md5: MD5 })).toEqual({ algorithm: 'md5', hash: MD5 });
    expect(lookupKeyOf({})).toBeUndefined();
  });

  it('takes zeros only where there is no other digest', () => {
    const zeros = '0'.repeat(40);
    expect(lookupKeyOf({ sha1: zeros, sha256: SHA256, md5: MD5 })).toEqual({ algorithm: 'sha256', hash: SHA256 });
    expect(lookupKeyOf({ sha1: zeros, sha256: '0'.repeat(64), md5: MD5 })).toEqual({ algorithm: 'md5', hash: MD5 });
    expect(lookupKeyOf({ sha1: zeros, md5: '0'.repeat(32) })).toEqual({ algorithm: 'sha1', hash: zeros });
  });
});

describe('isPlaceholder', () => {
  it('knows zeros and the digests of the empty file', () => {
    for (const hash of [
      '0'.repeat(40),
      '0'.repeat(64),
      'da39a3ee5e6b4b0d3255bfef95601890afd80709',
      'd41d8cd98f00b204e9800998ecf8427e',
    ]) {
      expect(isPlaceholder(hash)).toBe(true);
    }
    expect(isPlaceholder(SHA1)).toBe(false);
  });
});

describe('parseDigest', () => {
  it('takes only a whole digest of its algorithm', () => {
    expect(parseDigest('sha1', ` ${SHA1.toUpperCase()} `)).toBe(SHA1);
    expect(parseDigest('sha1', MD5)).toBeUndefined();
  });
});
