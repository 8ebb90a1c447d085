/** `LOG`, packed by the tools themselves (bzip2 1.0.8, xz 5.4.1, zstd 1.5.4); nothing in Node packs these formats. */
export const LOG: Buffer = Buffer.from(
  Array.from({ length: 40 }, (_, line) => `line ${line}: nothing happened on host-${line % 3}\n`).join(''),
);

/** `bzip2 -9` */
export const BZIP2: Buffer = Buffer.from(
  'QlpoOTFBWSZTWTZYp+0AAbNZgAAQQAJ/8CblzAAwAO0gSpvSpB+qAzUAFAAAGTIClSo/VMBM0CbKQ03KqoqqqiqqqKq6gYNgJ7E0E8CbCc1c+n' +
    'LlmWU+sZzmUMDppMYKqQkhJKqQkhJKqTJXfPbdrmXmqVu7uy7qlbu7u7V8gYMgYNgDB9CYE6iaCYE+CbhPYmomonETAm4J+CcBOImom8TYTAn+' +
    'LuSKcKEgbLFP2g==',
  'base64',
);

/** `xz -6 (CRC64)` */
export const XZ: Buffer = Buffer.from(
  '/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AWVAIhdADYaSh8IoCZWTgeUHzlzlH3THCBCMrHFVbBB4lkMJ8cq+Tn0J7SYsL7MAVWmRmBke/0c7o' +
    'S5SeqKotQOFS8UDmemwzbx4SX+CfYxb6GiG1DYxFoI+q8sncoRNqqg6loVUOc811Ob3bv4mK+RyqFDAwKFwhF5gM2rSS0n4FtzVNif6PdkiaMw' +
    'j5MAnjpnWWr4khEAAaQBlgsAAAz/xuixxGf7AgAAAAAEWVo=',
  'base64',
);

/** `xz -0 --check=sha256` */
export const XZ_SHA256: Buffer = Buffer.from(
  '/Td6WFoAAArh+wyhAgAhAQwAAACPmEGc4AWVAIldADYaSh8IoCZWTgeUHzlzlH3THCBCFyVdDY2JNiTq5uuo5QSut5VdvHvh2p0U5xXMEnzS6y' +
    '7OAwuN5pj8DcOOBLxJGIhrTeVjOTw2I0if2yWmRUDUTUl540fUgdnpDTlaRXBnKZ0Xp/xIdmGPbENVW9U3zRiZjJtIjRp+AOApIjLadA2svDW7' +
    '708AAAAAAP5MH99xv+H6b9cyhmzsu7GCRdpEHiaP4KjcMibgYxM2AAG9AZYLAABfrB/MtunfHAIAAAAAClla',
  'base64',
);

/** `xz -0 --check=crc32 --block-size=700` */
export const XZ_CRC32: Buffer = Buffer.from(
  '/Td6WFoAAAFpIt42AgAhAQwAAACPmEGc4AK7AGNdADYaSh8IoCZWTgeUHzlzlH3THCBCFyVdDY2JNiTq5uuo5QSut5VdvHvh2p0U5xXMEnzS6y' +
    '7OAwuN5pj8DcOOBLxJGIhrTeVjOTw2I0if2yWmRUDUTUl540fUgdnpDTlaLDhfAAAAjkV9dQIAIQEMAAAAj5hBnOACuwBeXQA3m4AFgizCYe5S' +
    'Js+uRY8HQYoNFw4Nlk9BRNWCZDLgaJiNgJedZFjLXVkxhDOCiqJI04u/waKzrlJY3c6IY+R7lt7rKcRVIk0fYJqHoB3AUH+4N80fSWwLH+kYUu' +
    'nIAAAAtknJRgIAIQEMAAAAj5hBnAEAHTk6IG5vdGhpbmcgaGFwcGVuZWQgb24gaG9zdC0wCgAAAHURaJoAA3u8BXa8BTIeAADT5ORsm+NRQAMA' +
    'AAAAAVla',
  'base64',
);

/** `xz --x86 --lzma2` */
export const XZ_BCJ: Buffer = Buffer.from(
  '/Td6WFoAAATm1rRGAgEEACEBFgANhjUf4AWVAIhdADYaSh8IoCZWTgeUHzlzlH3THCBCMrHFVbBB4lkMJ8cq+Tn0J7SYsL7MAVWmRmBke/0c7o' +
    'S5SeqKotQOFS8UDmemwzbx4SX+CfYxb6GiG1DYxFoI+q8sncoRNqqg6loVUOc811Ob3bv4mK+RyqFDAwKFwhF5gM2rSS0n4FtzVNif6PdkiaMw' +
    'j5MAnjpnWWr4khEAAaQBlgsAAAz/xuixxGf7AgAAAAAEWVo=',
  'base64',
);

/** `zstd` */
export const ZSTD: Buffer = Buffer.from(
  'KLUv/QRYRQQAYscTFpAp6aA24vB+gGfm24B/hHZyzdgVES7G6rJWl7W6rNX7ft/v+3WuztW5znBBwgYLDKxezUkHYgywLBJkUmISJx1FQSCjSA' +
    'dakmQOMycdSE2oIfz6fwfAM6oDERiK8P+gD2rv3r57e+23lqmtaQdtOstmS9mLbCJjJxHrnBkzZgQXMUyrAsqi0ag=',
  'base64',
);

/** `zstd --no-check -19` */
export const ZSTD_NO_CHECKSUM: Buffer = Buffer.from(
  'KLUv/QBoxQMAokYTEaAvBqiIMFxVPMfdSEn6bYgCiiSCyCGGFELIickg6uno5+bl5L8/rpyMfGxcTHzbwyqhYwr5bTDEtRSGSUNz09XKYHgzwk' +
    'tnWCO4GWUqqBEg9f0/A9AbHRE0EOH/IwIjzA8VkDrUK91oG2fBzpmSWe3NrEQN',
  'base64',
);
