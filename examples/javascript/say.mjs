// Have a text spoken, and save the sound: what `audio` frames hold, and how it becomes a WAV file.
//
// node examples/javascript/say.mjs "Dinner is ready." dinner.wav [URL]

import { writeFileSync } from "node:fs";

import { Riposte, samples } from "./riposte.mjs";

const [text, path, url] = process.argv.slice(2);
const client = await Riposte.connect(url);
const pieces = [];
for await (const frame of client.turn({ type: "say", text })) {
  if (frame.type === "audio") pieces.push(Buffer.from(samples(frame).buffer));
  if (frame.type === "error") throw new Error(frame.message);
}
client.close();

const pcm = Buffer.concat(pieces);
const rate = client.ready.audio_out_hz;
const header = Buffer.alloc(44);
header.write("RIFF", 0);
header.writeUInt32LE(36 + pcm.length, 4);
header.write("WAVEfmt ", 8);
header.writeUInt32LE(16, 16);
header.writeUInt16LE(1, 20); // PCM
header.writeUInt16LE(1, 22); // one channel
header.writeUInt32LE(rate, 24);
header.writeUInt32LE(rate * 2, 28);
header.writeUInt16LE(2, 32);
header.writeUInt16LE(16, 34); // bits
header.write("data", 36);
header.writeUInt32LE(pcm.length, 40);
writeFileSync(path, Buffer.concat([header, pcm]));
console.log(`${path}: ${(pcm.length / 2 / rate).toFixed(1)} s`);
