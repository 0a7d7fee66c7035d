// A client of Riposte's native protocol in JSON: WebSocket, JSON and base64 are all it takes.
// For browsers and for Node 22 or newer (Node 20 and 21: node --experimental-websocket).

export const NATIVE_URL = "ws://127.0.0.1:8000/ws";

export class Riposte {
  #socket;
  #frames = []; // came, and nobody has asked for them yet: a WebSocket cannot hold its server back
  #wake = () => {};
  #latest = 0; // the last turn seen
  #functions;

  // settings are those of `hello`; functions answer the calls of settings.tools: {name: async (arguments) => result}
  static async connect(url = NATIVE_URL, { key, functions = {}, ...settings } = {}) {
    const client = new Riposte();
    client.#functions = functions;
    // A browser cannot set headers on a WebSocket, so the key travels as a second subprotocol.
    const protocols = ["riposte.v1"];
    if (key) protocols.push("riposte.key." + base64url(key));
    const socket = (client.#socket = new WebSocket(url, protocols));
    socket.onmessage = (event) => client.#take(JSON.parse(event.data));
    socket.onclose = (event) => client.#take({ type: "closed", code: event.code });
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error(`no server answers at ${url}, or it refused`));
    });
    socket.onerror = () => {}; // onclose follows
    client.send({ type: "hello", version: 1, ...settings });
    for (;;) {
      const frame = await client.receive();
      if (frame.type === "ready") return Object.assign(client, { ready: frame });
      if (frame.type === "error") throw failure(frame);
    }
  }

  send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  // The next frame. Throws when the connection is over.
  async receive() {
    while (this.#frames.length === 0) await new Promise((resolve) => (this.#wake = resolve));
    if (this.#frames[0].type === "closed") throw new Error(`the connection is closed (${this.#frames[0].code})`);
    return this.#frames.shift();
  }

  // Ask (a `text`, `say` or `end` frame) and yield the frames of that turn, `done` last. One turn at a time.
  async *turn(frame) {
    this.send(typeof frame === "string" ? { type: "text", text: frame } : frame);
    const before = this.#latest;
    let turn = null;
    let over = false;
    try {
      while (!over) {
        const next = await this.receive();
        if (next.type === "error" && next.turn == null && turn === null) {
          over = true; // refused: there is no such turn
          throw failure(next);
        }
        if (next.turn == null || next.turn <= before) continue; // of the connection, or left of an earlier turn
        turn ??= next.turn;
        over = next.type === "done";
        yield next;
      }
    } finally {
      if (!over) this.#leave();
    }
  }

  close() {
    this.#socket.close();
  }

  #leave() {
    if (this.#socket.readyState === 1) this.send({ type: "cancel" });
  }

  #take(frame) {
    if (frame.type === "tool_call") this.#answer(frame);
    this.#latest = Math.max(this.#latest, frame.turn ?? 0);
    this.#frames.push(frame);
    this.#wake();
  }

  async #answer({ call, name, arguments: json }) {
    let result;
    try {
      if (!(name in this.#functions)) throw new Error(`there is no tool ${name}`);
      result = await this.#functions[name](JSON.parse(json));
    } catch (error) {
      result = `error: ${error.message}`;
    }
    const content = typeof result === "string" ? result : JSON.stringify(result);
    if (this.#socket.readyState === 1) this.send({ type: "tool_result", call, content });
  }
}

// s16 little-endian samples of an `audio` frame.
export function samples(frame) {
  const bytes = Uint8Array.from(atob(frame.pcm), (char) => char.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

function failure({ code, message }) {
  return Object.assign(new Error(message), { code });
}

function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
