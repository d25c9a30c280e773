/**
 * Cyclic redundancy checks that Node does not have, and joining of CRCs.
 *
 * CRC32C (Castagnoli) for both its speed by eight tables at once; CRC64NVME in two 32-bit halves,
 * because BigInt arithmetic for each byte would be a hundred times slower. `crcJoiner` gives the CRC of
 * two byte strings from their CRCs, which is how a full-object checksum of a multipart upload is
 * known without reading the object again. All are the reflected kind with all-ones in and out.
 */

const castagnoli = 0x82f63b78;

function crc32cTables(): Uint32Array[] {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ castagnoli : crc >>> 1;
    at(tables, 0)[byte] = crc;
  }
  for (let byte = 0; byte < 256; byte++) {
    for (let table = 1; table < 8; table++) {
      const before = word(at(tables, table - 1), byte);
      at(tables, table)[byte] = (before >>> 8) ^ word(at(tables, 0), before & 255);
    }
  }
  return tables;
}

function at(tables: readonly Uint32Array[], index: number): Uint32Array {
  const table = tables[index];
  if (table === undefined) throw new RangeError('no such CRC table');
  return table;
}

/** Every index is one byte, every table has 256 entries; a check would cost half the speed. */
function word(table: Uint32Array, index: number): number {
  return table[index] as number;
}

let crc32cState: Uint32Array[] | undefined;

/** CRC32C of `data`, continuing from `before`. */
export function crc32c(data: Uint8Array, before = 0): number {
  crc32cState ??= crc32cTables();
  const [t0, t1, t2, t3, t4, t5, t6, t7] = crc32cState as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  let crc = ~before;
  let index = 0;
  for (; index + 8 <= data.length; index += 8) {
    crc =
      word(t7, (crc ^ byte(data, index)) & 255) ^
      word(t6, ((crc >>> 8) ^ byte(data, index + 1)) & 255) ^
      word(t5, ((crc >>> 16) ^ byte(data, index + 2)) & 255) ^
      word(t4, (crc >>> 24) ^ byte(data, index + 3)) ^
      word(t3, byte(data, index + 4)) ^
      word(t2, byte(data, index + 5)) ^
      word(t1, byte(data, index + 6)) ^
      word(t0, byte(data, index + 7));
  }
  for (; index < data.length; index++) {
    crc = (crc >>> 8) ^ word(t0, (crc ^ byte(data, index)) & 255);
  }
  return ~crc >>> 0;
}

/** Only called with an index below the length. */
function byte(data: Uint8Array, index: number): number {
  return data[index] as number;
}

const nvme = 0x9a6c9329ac4bc9b5n;

interface HalfTables {
  readonly high: Uint32Array;
  readonly low: Uint32Array;
}

let crc64State: HalfTables | undefined;

function crc64Tables(): HalfTables {
  const tables = { high: new Uint32Array(256), low: new Uint32Array(256) };
  for (let byte = 0; byte < 256; byte++) {
    let crc = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ nvme : crc >> 1n;
    tables.high[byte] = Number(crc >> 32n);
    tables.low[byte] = Number(crc & 0xffffffffn);
  }
  return tables;
}

/** CRC64NVME of `data`, continuing from `before`. */
export function crc64nvme(data: Uint8Array, before = 0n): bigint {
  crc64State ??= crc64Tables();
  const tables = crc64State;
  let high = ~Number(before >> 32n);
  let low = ~Number(before & 0xffffffffn);
  for (let position = 0; position < data.length; position++) {
    const index = (low ^ byte(data, position)) & 255;
    low = ((low >>> 8) | (high << 24)) ^ word(tables.low, index);
    high = (high >>> 8) ^ word(tables.high, index);
  }
  return (BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0);
}

/** A reflected CRC polynomial and its width in bits. */
export interface CrcKind {
  readonly polynomial: bigint;
  readonly width: number;
}

export const crcKinds = {
  CRC32: { polynomial: 0xedb88320n, width: 32 },
  CRC32C: { polynomial: BigInt(castagnoli), width: 32 },
  CRC64NVME: { polynomial: nvme, width: 64 },
} as const satisfies Record<string, CrcKind>;

/** a·b modulo the polynomial; the highest bit is x⁰, as in every reflected CRC. */
function multiply(kind: CrcKind, a: bigint, b: bigint): bigint {
  let product = 0n;
  let shifted = b;
  for (let bit = BigInt(kind.width - 1); bit >= 0n; bit--) {
    if ((a >> bit) & 1n) product ^= shifted;
    shifted = shifted & 1n ? (shifted >> 1n) ^ kind.polynomial : shifted >> 1n;
  }
  return product;
}

function powerOfX(kind: CrcKind, exponent: bigint): bigint {
  const one = 1n << BigInt(kind.width - 1);
  let result = one;
  let square = one >> 1n;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = multiply(kind, result, square);
    square = multiply(kind, square, square);
  }
  return result;
}

/**
 * Joins CRCs of consecutive byte strings: given the CRC of A, the CRC of B and the bytes of B, the
 * CRC of A followed by B. Powers of x are kept by length, since the parts of an upload mostly have
 * one length and there may be 10,000 of them.
 */
export function crcJoiner(kind: CrcKind): (a: bigint, b: bigint, bytesB: number) => bigint {
  const powers = new Map<number, bigint>();
  return (a, b, bytesB) => {
    let power = powers.get(bytesB);
    if (power === undefined) {
      power = powerOfX(kind, BigInt(bytesB) * 8n);
      powers.set(bytesB, power);
    }
    return multiply(kind, a, power) ^ b;
  };
}
