// SPDX-License-Identifier: Apache-2.0
// A member that is ts-mls 1, which differs from its successor in its calls.
import * as mls from "ts-mls-1";
import * as next from "./ts_mls.js";

export const name = "ts-mls-1";
export const suites = [1, 2, 3, 4, 5, 6, 7];
export const cannot = {
  propose: next.cannot.propose,
  external: next.cannot.external,
  follow: next.cannot.follow,
  points: next.cannot.points,
  unmerged: next.cannot.unmerged,
  suites: "its X-Wing suite has a number outside the private range",
};

const suiteNames = new Map(
  Object.entries(mls.ciphersuites).map(([text, id]) => [id, text]),
);
const decode = (message) => {
  const found = mls.decodeMlsMessage(message, 0);
  if (found === undefined) throw new Error("ts-mls-1: does not parse");
  return found[0];
};
const encode = (wireformat, content) =>
  mls.encodeMlsMessage({ version: "mls10", wireformat, ...content });

export class Member extends next.Member {
  static suite = async (id) =>
    next.withKeys(
      id,
      await mls.getCiphersuiteImpl(
        mls.getCiphersuiteFromName(suiteNames.get(id)),
      ),
    );

  pskIndex = () => mls.makePskIndex(this.group, this.psks);

  async keyPair() {
    this.package = await mls.generateKeyPackage(
      { credentialType: "basic", identity: this.identity },
      mls.defaultCapabilities(),
      mls.defaultLifetime,
      [],
      this.suite,
    );
    return this.package;
  }

  async keyPackage() {
    const { publicPackage } = await this.keyPair();
    return encode("mls_key_package", { keyPackage: publicPackage });
  }

  async found(groupId) {
    const { publicPackage, privatePackage } = await this.keyPair();
    this.group = await mls.createGroup(
      groupId,
      publicPackage,
      privatePackage,
      [],
      this.suite,
    );
  }

  async join(welcome) {
    this.group = await mls.joinGroup(
      decode(welcome).welcome,
      this.package.publicPackage,
      this.package.privatePackage,
      this.pskIndex(),
      this.suite,
    );
  }

  async commit(extraProposals = []) {
    return this.made(
      await mls.createCommit(
        {
          state: this.group,
          cipherSuite: this.suite,
          pskIndex: this.pskIndex(),
        },
        {
          extraProposals,
          ratchetTreeExtension: true,
          wireAsPublicMessage: this.public,
        },
      ),
    );
  }

  made({ newState, commit, welcome }) {
    this.group = newState;
    return {
      commit: mls.encodeMlsMessage(commit),
      welcome: welcome ? encode("mls_welcome", { welcome }) : new Uint8Array(),
    };
  }

  addOf = (kp) => ({
    proposalType: "add",
    add: { keyPackage: decode(kp).keyPackage },
  });

  add = (...kps) => this.commit(kps.map(this.addOf));

  remove = (...identities) =>
    this.commit(
      identities.map((identity) => ({
        proposalType: "remove",
        remove: { removed: this.leafOf(identity) / 2 },
      })),
    );

  inject = (id) =>
    this.commit([
      {
        proposalType: "psk",
        psk: {
          preSharedKeyId: {
            psktype: "external",
            pskId: id,
            pskNonce: crypto.getRandomValues(
              new Uint8Array(this.suite.kdf.size),
            ),
          },
        },
      },
    ]);

  reinit = async (groupId) =>
    this.made(
      await mls.reinitGroup(
        this.group,
        groupId,
        "mls10",
        this.suite.name,
        [],
        this.suite,
      ),
    );

  heir = (welcome) => [
    this.group,
    decode(welcome).welcome,
    this.package.publicPackage,
    this.package.privatePackage,
    undefined,
  ];

  async joinHeir(welcome) {
    this.group = await mls.joinGroupFromReinit(...this.heir(welcome));
  }

  async joinBranch(welcome) {
    this.group = await mls.joinGroupFromBranch(
      ...this.heir(welcome),
      this.suite,
    );
  }

  async proposeAdd(kp) {
    const { newState, message } = await mls.createProposal(
      this.group,
      this.public,
      this.addOf(kp),
      this.suite,
    );
    this.group = newState;
    return mls.encodeMlsMessage(message);
  }

  // Its processMessage, too, forgets PSKs.
  async process(message) {
    const { privateMessage, publicMessage } = decode(message);
    const how = [this.pskIndex(), this.suite];
    const result = await (privateMessage
      ? mls.processPrivateMessage(this.group, privateMessage, ...how)
      : mls.processPublicMessage(this.group, publicMessage, ...how));
    this.group = result.newState;
    return result.kind === "applicationMessage" ? result.message : null;
  }

  async send(text) {
    const { newState, privateMessage } = await mls.createApplicationMessage(
      this.group,
      text,
      this.suite,
    );
    this.group = newState;
    return encode("mls_private_message", { privateMessage });
  }
}
