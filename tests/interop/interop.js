// SPDX-License-Identifier: Apache-2.0
// This library and another one in the same groups, in every suite that both
// have, each side as the founder. Prints TAP, then a table.
//
// usage: node interop.js BRIDGE [WORD...]
// With words, only what has them all in its line.
import { webcrypto } from "node:crypto";
import * as sotto from "./sotto.js";

globalThis.crypto ??= webcrypto; // Node 18
const tsMls = await import("./ts_mls.js");
const tsMls1 = await import("./ts_mls_1.js");
const coreCrypto = await import("./core_crypto.js");

const text = new TextEncoder();
const EXPORT = ["exporter", new Uint8Array(), 32];
const same = (a, b) => Buffer.compare(a, b) === 0;

// The members of one group, in the order in which they came.
class Group {
  constructor(suite, cannot, plain) {
    this.suite = suite;
    this.cannot = cannot;
    this.plain = plain || cannot.private;
    this.members = [];
    this.everybody = [];
  }

  async person(side) {
    const n = String(this.everybody.length + 1);
    const uuid = "00000000-0000-4000-8000-00000000000" + n;
    const m = await side.Member.create(this.suite, `${uuid}:${n}@x.example`);
    if (this.plain) await m.plain?.(true);
    await m.grease?.();
    m.side = side;
    this.everybody.push(m);
    return m;
  }

  async people(...sides) {
    const all = [];
    for (const side of sides) all.push(await this.person(side));
    return all;
  }

  async agree(what) {
    const [first, ...rest] = await Promise.all(
      this.members.map(async (m) => ({
        name: m.side.name,
        ...(await m.state()),
        secret: await m.exported(...EXPORT),
      })),
    );
    for (const s of rest) {
      const where = `after ${what}: ${first.name} and ${s.name} differ in`;
      if (s.epoch !== first.epoch)
        throw new Error(`${where} epochs ${first.epoch}, ${s.epoch}`);
      if (!same(s.secret, first.secret))
        throw new Error(`${where} exported secrets`);
      if (
        s.authenticator &&
        first.authenticator &&
        !same(s.authenticator, first.authenticator)
      )
        throw new Error(`${where} epoch authenticators`);
    }
  }

  async deliver(sender, message) {
    for (const m of this.members) {
      if (m !== sender) await m.process(message);
    }
  }

  async found(founder) {
    await founder.found(text.encode(`group of suite ${this.suite}`));
    this.members = [founder];
  }

  // The commit goes to those who are there, the Welcome to who comes.
  async welcome(sender, { commit, welcome }, ...newcomers) {
    await this.deliver(sender, commit);
    for (const m of newcomers) await m.join(welcome);
    this.members.push(...newcomers);
    await this.agree(`${sender.side.name} added`);
  }

  async add(sender, ...newcomers) {
    const kps = [];
    for (const m of newcomers) kps.push(await m.keyPackage());
    await this.welcome(sender, await sender.add(...kps), ...newcomers);
  }

  async remove(sender, ...gone) {
    const { commit } = await sender.remove(...gone.map((m) => m.identity));
    this.members = this.members.filter((m) => !gone.includes(m));
    await this.deliver(sender, commit);
    for (const m of gone) {
      if (m.side.cannot.removed) continue;
      await m.process(commit);
      if (await m.active())
        throw new Error(`${m.side.name} does not see that it was removed`);
    }
    await this.agree(`${sender.side.name} removed`);
  }

  async talk() {
    for (const sender of this.members) {
      const words = text.encode(`words of ${sender.side.name}`);
      const message = await sender.send(words);
      for (const m of this.members) {
        if (m !== sender && !same(await m.process(message), words))
          throw new Error(`${m.side.name} read other words`);
      }
    }
  }

  async update() {
    for (const m of this.members) {
      await this.deliver(m, (await m.update()).commit);
      await this.agree(`an update by ${m.side.name}`);
    }
  }
}

// ---- What they do together

async function life(g, founder, other) {
  const [a, b] = await g.people(founder, other);
  await g.found(a);
  await g.add(a, b);
  await g.talk();
  await g.update();
  await g.talk();
  await g.add(b, await g.person(founder));
  await g.add(a, await g.person(other));
  await g.talk();
  await g.update();
}

async function removal(g, founder, other) {
  const sides = [founder, other];
  const [a, b, ...more] = await g.people(...sides, ...sides, ...sides);
  const [c, d, e, f] = more;
  await g.found(a);
  await g.add(a, b, ...more);
  await g.update();
  await g.remove(c, b, e); // blank leaves between members
  await g.talk();
  const newcomers = await g.people(...sides); // and they are filled again
  if (!g.cannot.unmerged) await g.add(d, ...newcomers);
  else for (const m of newcomers) await g.add(d, m).then(() => g.update());
  await g.update();
  await g.remove(d, c, f); // the tree has fewer leaves
  await g.talk();
  await g.update();
  for (const m of [a, d]) {
    if (m.side.cannot.commitOne) continue;
    await g.remove(m, g.members.at(-1));
    await g.talk();
  }
  for (const m of [a, d]) if (m.side.cannot.commitOne) await refused(g, m);
}

// What breaks the rules is refused by this library, whoever sends it.
async function refused(g, sender) {
  const { commit } = await sender.remove(g.members.at(-1).identity);
  for (const m of g.members) {
    if (m.side !== sotto) continue;
    const why = await m.process(commit).catch((error) => error.message);
    if (!/against the rules/.test(why))
      throw new Error(`a commit without its path was taken: ${why}`);
  }
}

// Proposals by reference: each side proposes what the other commits.
async function proposals(g, founder, other) {
  const sides = [founder, other];
  const [a, b, c, d] = await g.people(...sides, ...sides);
  await g.found(a);
  await g.add(a, b, c, d);
  await g.update();
  for (const [by, from] of [
    [a, b],
    [b, a],
  ]) {
    if (!by.proposeAdd) continue;
    const newcomer = await g.person(by.side);
    await g.deliver(by, await by.proposeAdd(await newcomer.keyPackage()));
    await g.welcome(from, await from.commitPending(), newcomer);
    await g.talk();
    if (!by.proposeUpdate || from.side.cannot.commitUpdates) continue;
    for (const m of g.members)
      if (m.side === by.side) await g.deliver(m, await m.proposeUpdate());
    await g.deliver(from, (await from.commitPending()).commit);
    await g.agree(`updates that ${by.side.name} proposed`);
    await g.talk();
  }
  await g.update();
}

async function psks(g, founder, other) {
  const [a, b] = await g.people(founder, other);
  const [id, key] = [text.encode("an id"), text.encode("a shared key")];
  await g.found(a);
  await g.add(a, b);
  for (const m of g.members) await m.offer(id, key);
  for (const m of [a, b]) {
    await g.deliver(m, (await m.inject(id)).commit);
    await g.agree(`a PSK by ${m.side.name}`);
  }
  await g.talk();
}

// Each side joins by a GroupInfo of the other, or this library by its own.
async function external(g, founder, other) {
  const [a, b] = await g.people(founder, other);
  await g.found(a);
  await g.add(a, b);
  for (const [from, side] of [
    [a, other],
    [b, founder],
  ]) {
    if (g.cannot.external && from.side !== sotto) continue;
    const newcomer = await g.person(g.cannot.external ? sotto : side);
    await g.deliver(from, (await from.update()).commit);
    const commit = await newcomer.external(await from.info());
    await g.deliver(newcomer, commit);
    g.members.push(newcomer);
    await g.agree(`an external commit by ${newcomer.side.name}`);
    await g.talk();
    await g.update();
  }
}

// Groups that follow from others: the other side ends one by a ReInit.
async function heirs(g, founder, other) {
  const sides = [founder, other];
  const [a, b, c, d] = await g.people(...sides, ...sides);
  await g.found(a);
  await g.add(a, b, c, d);
  await g.update();
  const maker = g.members.find((m) => m.side === sotto);
  const others = g.members.filter((m) => m !== maker);
  const packages = () => Promise.all(others.map((m) => m.keyPackage()));
  const ender = g.members.find((m) => m.side !== sotto);
  await g.deliver(ender, (await ender.reinit(text.encode("heir"))).commit);
  const heir = await maker.follow(...(await packages()));
  for (const m of others) await m.joinHeir(heir);
  await g.agree("a ReInit");
  await g.update();
  const kps = await packages();
  const branch = await maker.branch(text.encode("branch"), ...kps);
  for (const m of others) await m.joinBranch(branch);
  await g.agree("a branch");
  await g.talk();
  await g.update();
}

async function plain(g, founder, other) {
  const [a, b] = await g.people(founder, other);
  await g.found(a);
  await g.add(a, b);
  await g.update();
  await g.add(b, ...(await g.people(founder, other)));
  await g.remove(a, ...g.members.slice(2));
  await g.update();
}

const scenes = [
  { run: life, text: "create, join, send, update, add" },
  {
    run: removal,
    text: "remove, blank leaves, add again",
    without: ["commitOne", "removed", "unmerged"],
  },
  {
    run: proposals,
    text: "proposals by reference",
    without: ["propose", "commitUpdates"],
  },
  { run: psks, text: "external PSKs", needs: "psk" },
  { run: external, text: "external commits", without: ["external"] },
  {
    run: heirs,
    text: "ReInit and branches",
    needs: "heirs",
    without: ["follow"],
  },
  { run: plain, text: "handshake in PublicMessages", plain: true },
];

// ---- The table

const peers = [tsMls, tsMls1, coreCrypto];
const [bridge, ...wanted] = process.argv.slice(2);
sotto.use(bridge);
const rows = [];
let number = 0;
let failed = 0;

async function play(scene, suite, founder, other) {
  const who = `${founder.name} founds, ${other.name} joins`;
  const line = `${who}, suite ${suite}: ${scene.text}`;
  const cannot = { ...founder.cannot, ...other.cannot };
  if (cannot[scene.needs]) return "cannot";
  if (!wanted.every((word) => line.includes(word))) return "not run";
  const group = new Group(suite, cannot, scene.plain);
  let why = "";
  try {
    await scene.run(group, founder, other);
  } catch (error) {
    why = String(error.stack ?? error);
  }
  for (const m of group.everybody) await m.close();
  number += 1;
  failed += why ? 1 : 0;
  console.log(`${why ? "not " : ""}ok ${number} - ${line}`);
  if (why) console.log(why.replace(/^/gm, "# "));
  if (why) return "FAILED";
  return scene.without?.some((what) => cannot[what]) ? "part" : "ok";
}

for (const peer of peers) {
  for (const suite of peer.suites) {
    for (const [founder, other] of [
      [sotto, peer],
      [peer, sotto],
    ]) {
      const results = [];
      for (const scene of scenes)
        results.push(await play(scene, suite, founder, other));
      rows.push([founder.name, other.name, `${suite}`, ...results]);
    }
  }
}
console.log(`1..${number}`);

const head = ["founds", "joins", "suite", ...scenes.map((s) => s.run.name)];
const widths = head.map((_, i) =>
  Math.max(...[head, ...rows].map((row) => row[i].length)),
);
console.log("#");
for (const row of [head, ...rows])
  console.log(`# ${row.map((w, i) => w.padEnd(widths[i])).join("  ")}`);
console.log("# part: all but what the other cannot");
for (const peer of peers)
  for (const [what, why] of Object.entries(peer.cannot))
    console.log(`# ${peer.name} cannot, ${what}: ${why}`);
process.exit(failed ? 1 : 0);
