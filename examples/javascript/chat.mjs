// Type with Riposte: a line is a turn, and its words appear as they are made.
//
// node examples/javascript/chat.mjs [URL]      (Node 20: node --experimental-websocket …)

import { createInterface } from "node:readline";

import { Riposte } from "./riposte.mjs";

const client = await Riposte.connect(process.argv[2], { modalities: ["text"] });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    for await (const frame of client.turn(line)) {
      if (frame.type === "token") process.stdout.write(frame.text);
      if (frame.type === "error") console.error(frame.message);
    }
    process.stdout.write("\n");
  } catch (error) {
    if (!error.code) throw error; // the connection is over
    console.error(error.message); // this turn was refused; the next one may not be
  }
}
client.close();
