import { crc32, deflateRawSync } from 'node:zlib';

/** A file to be put into a zip archive, with what may be wrong with it. */
export interface ZipFileSpec {
  readonly name: string;
  readonly content: Buffer;
  readonly isStored?: boolean;
  readonly isEncrypted?: boolean;
  /** Sizes and CRC behind the data instead of in the local header. */
  readonly hasDataDescriptor?: boolean;
  /** 64-bit sizes and offset in the directory. */
  readonly isZip64?: boolean;
  readonly method?: number;
  readonly crc?: number;
}

/** A zip archive as APPNOTE.TXT describes it. */
export function zipArchive(files: readonly ZipFileSpec[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const file of files) {
    const packed = file.isStored ? file.content : deflateRawSync(file.content);
    const name = Buffer.from(file.name);
    const crc = file.crc ?? crc32(file.content);
    const method = file.method ?? (file.isStored ? 0 : 8);
    const flags = (file.isEncrypted ? 1 : 0) | (file.hasDataDescriptor ? 8 : 0);
    const isKnown = !file.hasDataDescriptor;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(flags, 6);
    local.writeUInt16LE(method, 8);
    local.writeUInt32LE(isKnown ? crc : 0, 14);
    local.writeUInt32LE(isKnown ? packed.length : 0, 18);
    local.writeUInt32LE(isKnown ? file.content.length : 0, 22);
    local.writeUInt16LE(name.length, 26);
    const descriptor = Buffer.alloc(isKnown ? 0 : 16);
    parts.push(local, name, packed, descriptor);

    const zip64 = Buffer.alloc(file.isZip64 ? 28 : 0);
    if (file.isZip64) {
      zip64.writeUInt16LE(1, 0);
      zip64.writeUInt16LE(24, 2);
      zip64.writeBigUInt64LE(BigInt(file.content.length), 4);
      zip64.writeBigUInt64LE(BigInt(packed.length), 12);
      zip64.writeBigUInt64LE(BigInt(offset), 20);
    }
    const header = Buffer.alloc(46);
    header.writeUInt32LE(0x02014b50, 0);
    header.writeUInt16LE(flags, 8);
    header.writeUInt16LE(method, 10);
    header.writeUInt32LE(crc, 16);
    header.writeUInt32LE(file.isZip64 ? 0xffffffff : packed.length, 20);
    header.writeUInt32LE(file.isZip64 ? 0xffffffff : file.content.length, 24);
    header.writeUInt16LE(name.length, 28);
    header.writeUInt16LE(zip64.length, 30);
    header.writeUInt32LE(file.isZip64 ? 0xffffffff : offset, 42);
    directory.push(header, name, zip64);
    offset += local.length + name.length + packed.length + descriptor.length;
  }
  const headers = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(headers.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, headers, end]);
}

/** A member to be put into a tar archive. */
export interface TarMemberSpec {
  readonly name: string;
  readonly content: Buffer;
  readonly type?: string;
  readonly prefix?: string;
}

/** A ustar archive. */
export function tarArchive(members: readonly TarMemberSpec[]): Buffer {
  const blocks = members.flatMap(({ name, content, type = '0', prefix = '' }) => {
    const header = Buffer.alloc(512);
    header.write(name, 0, 100);
    header.write('0000644\0', 100);
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write('        ', 148);
    header.write(type, 156);
    header.write('ustar\x0000', 257);
    header.write(prefix, 345, 155);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** A pax header with these records, to stand before a member. */
export function paxHeader(records: Readonly<Record<string, string>>): TarMemberSpec {
  const content = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    const digits = String(Buffer.byteLength(rest) + 2).length;
    return `${Buffer.byteLength(rest) + digits}${rest}`;
  });
  return { name: 'PaxHeader', content: Buffer.from(content.join('')), type: 'x' };
}
