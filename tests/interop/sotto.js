// SPDX-License-Identifier: Apache-2.0
// A member that is this library, behind its bridge.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const hex = (bytes) => Buffer.from(bytes).toString("hex") || "-";
const bytes = (text) => new Uint8Array(Buffer.from(text ?? "", "hex"));

export const name = "sotto-mls";
export const cannot = {};

let program;
export const use = (bridge) => {
  program = bridge;
};

export class Member {
  static async create(suite, identity) {
    const m = new Member();
    m.process_ = spawn(program, {
      stdio: ["pipe", "pipe", "inherit"],
    });
    m.lines = createInterface({ input: m.process_.stdout })[
      Symbol.asyncIterator
    ]();
    m.identity = new TextEncoder().encode(identity);
    await m.ask("new", suite, hex(m.identity));
    return m;
  }

  async ask(...words) {
    this.process_.stdin.write(words.join(" ") + "\n");
    const { value, done } = await this.lines.next();
    if (done) throw new Error("the bridge has ended");
    const answer = JSON.parse(value);
    if (answer.error)
      throw new Error(`sotto-mls: ${words[0]}: ${answer.error}`);
    return answer;
  }

  async close() {
    this.process_.stdin.end();
    for await (const line of this.lines) void line;
  }

  keyPackage = async () => bytes((await this.ask("keypackage")).key_package);
  found = (groupId) => this.ask("create", hex(groupId));
  join = (welcome) => this.ask("join", hex(welcome));

  async commit(...words) {
    const made = await this.ask(...words);
    await this.ask("process", made.commit);
    return { commit: bytes(made.commit), welcome: bytes(made.welcome) };
  }

  add = (...kps) => this.commit("add", ...kps.map(hex));
  update = () => this.commit("update");
  commitPending = () => this.commit("commit");
  inject = (id) => this.commit("inject", hex(id));

  async remove(...identities) {
    const { list } = await this.ask("members");
    const gone = identities.map(hex);
    const leaves = list.filter((m) => gone.includes(m.identity));
    return this.commit("remove", ...leaves.map((m) => m.leaf));
  }

  async propose(...words) {
    const { proposal } = await this.ask("propose", ...words);
    await this.ask("process", proposal);
    return bytes(proposal);
  }

  proposeUpdate = () => this.propose("update");
  proposeAdd = (kp) => this.propose("add", hex(kp));
  offer = (id, key) => this.ask("psk", hex(id), hex(key));
  info = async () => bytes((await this.ask("info")).info);
  external = async (info) =>
    bytes((await this.ask("external", hex(info))).commit);
  reinit = (groupId) => this.commit("reinit", hex(groupId));
  follow = async (...kps) =>
    bytes((await this.ask("follow", ...kps.map(hex))).welcome);
  branch = async (groupId, ...kps) =>
    bytes((await this.ask("branch", hex(groupId), ...kps.map(hex))).welcome);
  joinHeir = this.join;
  joinBranch = this.join;
  grease = () => this.ask("set", "grease", 1);
  plain = (on) => this.ask("set", "public", on ? 1 : 0);

  async process(message) {
    const got = await this.ask("process", hex(message));
    if (!["application", "proposal", "commit"].includes(got.outcome))
      throw new Error(`sotto-mls: process: ${got.outcome}`);
    return got.outcome === "application" ? bytes(got.content) : null;
  }

  send = async (text) => bytes((await this.ask("send", hex(text))).message);

  async state() {
    const s = await this.ask("auth");
    return { ...s, authenticator: bytes(s.authenticator) };
  }

  active = async () => (await this.state()).active;

  async exported(label, context, length) {
    const answer = await this.ask(
      "export",
      hex(new TextEncoder().encode(label)),
      hex(context),
      length,
    );
    return bytes(answer.secret);
  }
}
