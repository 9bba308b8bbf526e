/** 16-bit mono samples to a WAV file. */

const HEADER_BYTES = 44;

/** pcm: parts of it, in order, as bytes of 16-bit little-endian samples. rate: Hz. */
export function wavFile(pcm, rate) {
  const size = pcm.reduce((sum, part) => sum + part.byteLength, 0);
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const word = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  header.setUint32(4, HEADER_BYTES - 8 + size, true);
  word(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, rate, true);
  header.setUint32(28, rate * 2, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  word(36, "data");
  header.setUint32(40, size, true);
  return new Blob([header, ...pcm], { type: "audio/wav" });
}

/** Samples from -1 to 1 as bytes of 16-bit little-endian ones. */
export function pcmBytes(samples) {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, i) => view.setInt16(i * 2, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true));
  return new Uint8Array(view.buffer);
}
