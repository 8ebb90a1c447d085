import type { Decompress } from 'fzstd';
import { type ChunkSource, damaged, mismatch, truncated } from './member.js';
import type { PackedInput } from './packed-input.js';
import { Xxh64 } from './xxh64.js';

/** RFC 8878, section 3. */
const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_MASK = 0xfffffff0;
const MAX_BLOCK_BYTES = 128 * 1024;
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;
const CHECKSUM_BYTES = 4;

/** What `zstd` itself decodes without being told to use more memory (`--long=27`); a header may ask for 2 GB. */
const MAX_WINDOW_BYTES = 128 * 1024 * 1024;

/** Window of packed bytes that holds the largest block with its header. */
export const ZSTD_WINDOW_BYTES = 2 * MAX_BLOCK_BYTES;

/** What a frame's header says. */
interface FrameHeader {
  readonly headerBytes: number;
  readonly windowBytes: number;
  readonly hasChecksum: boolean;
  readonly hasDictionary: boolean;
}

/** Whether bytes begin zstd data: a frame, or one to be skipped, which pzstd puts first. */
export function isZstd(head: Buffer): boolean {
  return head.length >= 4 && (head.readUInt32LE(0) === FRAME_MAGIC || isSkippable(head.readUInt32LE(0)));
}

function isSkippable(magic: number): boolean {
  return (magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE_MAGIC;
}

/**
 * Unpacks zstd data of any number of frames; what follows the last and starts none is ignored.
 * Frames are walked here and fzstd decodes their blocks: it would follow a header's wish for memory, call itself for every frame, and
 * not look at checksums.
 */
export function zstdChunks(input: PackedInput): ChunkSource {
  let decoder: Decompress | undefined;
  let hasChecksum = false;
  let expectedChecksum: number | undefined;
  let isMismatched = false;
  let hash = new Xxh64();
  let frameCount = 0;
  const pieces: Buffer[] = [];
  const push = (bytes: Buffer, isFinal: boolean): void => {
    try {
      // fzstd keeps what it is given until it has a whole block.
      decoder?.push(new Uint8Array(bytes), isFinal);
    } catch (error) {
      throw damaged('CORRUPT', 'zstd data are damaged', error);
    }
  };
  const startFrame = async (): Promise<boolean> => {
    const header = await nextFrame(input, frameCount > 0);
    if (header === undefined) return false;
    frameCount += 1;
    hasChecksum = header.hasChecksum;
    hash = new Xxh64();
    const { Decompress } = await import('fzstd');
    decoder = new Decompress((data) => pieces.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
    push(input.bytes.subarray(0, header.headerBytes), false);
    input.take(header.headerBytes);
    return true;
  };
  const decodeBlock = async (): Promise<void> => {
    if (!(await input.need(3))) throw truncated('zstd data');
    // Bit 0 last block, bits 1–2 type, bits 3–23 size.
    const blockHeader = input.bytes.readUIntLE(0, 3);
    const isLast = (blockHeader & 1) === 1;
    const type = (blockHeader >> 1) & 3;
    const size = blockHeader >> 3;
    if (type === BLOCK_RESERVED || size > MAX_BLOCK_BYTES) throw damaged('CORRUPT', 'zstd block header is damaged');
    const wholeBytes = 3 + (type === BLOCK_RLE ? 1 : size) + (isLast && hasChecksum ? CHECKSUM_BYTES : 0);
    if (!(await input.need(wholeBytes))) throw truncated('zstd data');
    push(input.bytes.subarray(0, wholeBytes), isLast);
    if (isLast && hasChecksum) expectedChecksum = input.bytes.readUInt32LE(wholeBytes - CHECKSUM_BYTES);
    input.take(wholeBytes);
    if (isLast) decoder = undefined;
  };
  return {
    packedBytes: () => input.takenBytes,
    close: () => {
      decoder = undefined;
    },
    next: async () => {
      for (;;) {
        const piece = pieces.shift();
        if (piece !== undefined) {
          if (piece.length === 0) continue;
          if (hasChecksum) hash.update(piece);
          return piece;
        }
        isMismatched ||= expectedChecksum !== undefined && hash.low32() !== expectedChecksum;
        expectedChecksum = undefined;
        if (decoder === undefined && !(await startFrame())) {
          if (isMismatched) throw mismatch('zstd data do not match their checksum');
          return undefined;
        }
        await decodeBlock();
      }
    },
  };
}

/** Steps over skippable frames to the next frame's header; undefined where no frame follows. */
async function nextFrame(input: PackedInput, isFollowing: boolean): Promise<FrameHeader | undefined> {
  for (;;) {
    const isWhole = await input.need(5);
    const magic = isWhole ? input.bytes.readUInt32LE(0) : 0;
    if (isSkippable(magic)) {
      if (!(await input.need(8))) throw truncated('zstd data');
      if (!(await input.skip(8 + input.bytes.readUInt32LE(4)))) throw truncated('zstd data');
      continue;
    }
    if (magic !== FRAME_MAGIC) {
      if (isFollowing) return undefined;
      throw isWhole ? damaged('CORRUPT', 'zstd header is damaged') : truncated('zstd data');
    }
    // The longest header has 18 bytes; a short frame may be shorter than that altogether.
    await input.need(18);
    const header = parseFrameHeader(input.bytes);
    if (input.bytes.length < header.headerBytes) throw truncated('zstd data');
    if (header.hasDictionary)
      throw damaged('UNSUPPORTED', 'zstd data need a dictionary; unpack them with zstd -D first');
    if (header.windowBytes > MAX_WINDOW_BYTES) {
      throw damaged(
        'UNSUPPORTED',
        `zstd data need a window of ${header.windowBytes} bytes; unpack them with zstd --long=31 first`,
      );
    }
    return header;
  }
}

/** Descriptor (bits 6–7 size of the content size, 5 single segment, 2 checksum, 0–1 size of the dictionary id), window, dictionary id, content size. */
function parseFrameHeader(bytes: Buffer): FrameHeader {
  const descriptor = bytes[4] ?? 0;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const contentSizeStart = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes;
  const headerBytes = contentSizeStart + contentSizeBytes;
  const field = bytes.subarray(contentSizeStart, headerBytes);
  const contentSize = field.reduceRight((total, byte) => total * 256 + byte, 0) + (contentSizeBytes === 2 ? 256 : 0);
  const windowDescriptor = bytes[5] ?? 0;
  const windowBase = 2 ** (10 + (windowDescriptor >> 3));
  return {
    headerBytes,
    windowBytes: isSingleSegment ? contentSize : windowBase + (windowBase / 8) * (windowDescriptor & 7),
    hasChecksum: (descriptor & 4) !== 0,
    hasDictionary: dictionaryBytes > 0,
  };
}
