// A pretend home: Riposte switches its lights, sets a timer that rings, and keeps a shopping list.
//
// node examples/javascript/tools_home.mjs [URL]      (Node 20: node --experimental-websocket …)
//     turn on the kitchen light
//     set a timer for ten seconds

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Riposte } from "./riposte.mjs";

// What the model is told of each tool; `pico` was trained on these very schemas.
const schemas = JSON.parse(readFileSync(new URL("../home_tools.json", import.meta.url)));

const show = (change) => console.log(`[${change}]`);
let items = [];
let timer = null;

// What a function returns, or throws, is told to the model, which tells the user.
const functions = {
  set_light({ light, room = "", state, brightness, colour }) {
    if (brightness < 0 || brightness > 100) throw new Error("that is too bright");
    show(`${`${room} ${light}`.trim()}: ${state ?? colour ?? `${brightness} percent`}`);
    return "ok";
  },

  timer({ action, hours = 0, minutes = 0, seconds = 0 }) {
    if (action !== "start" && timer === null) throw new Error("no timer is running");
    if (action === "check") {
      const left = Math.round((timer.ringsAt - Date.now()) / 1000);
      return `${Math.floor(left / 60)} minutes ${left % 60} seconds left`;
    }
    clearTimeout(timer?.ringing);
    timer = null;
    if (action === "start") {
      const length = hours * 3600 + minutes * 60 + seconds;
      const ring = () => {
        timer = null;
        show("timer: it rings!\x07");
      };
      timer = { ringsAt: Date.now() + length * 1000, ringing: setTimeout(ring, length * 1000) };
      show(`timer: ${length} s`);
    } else {
      show("timer: cancelled");
    }
    return "ok";
  },

  shopping_list({ action, items: named = [] }) {
    if (action === "add") items = [...new Set([...items, ...named])];
    if (action === "remove") items = items.filter((item) => !named.includes(item));
    if (action === "clear") items = [];
    show(`list: ${items.join(", ") || "empty"}`);
    return items.join(", ") || "[]";
  },
};

const client = await Riposte.connect(process.argv[2], { modalities: ["text"], tools: schemas, functions });
for await (const line of createInterface({ input: process.stdin })) {
  for await (const frame of client.turn(line)) {
    if (frame.type === "token") process.stdout.write(frame.text);
    if (frame.type === "error") console.error(frame.message);
  }
  process.stdout.write("\n");
}
clearTimeout(timer?.ringing);
client.close();
