// SPDX-License-Identifier: Apache-2.0
// A member that is ts-mls.
import { p256, p384, p521 } from "@noble/curves/nist.js";
import { XWing } from "@hpke/hybridkem-x-wing";
import { shake256 } from "@noble/hashes/sha3.js";
import * as mls from "ts-mls";

export const name = "ts-mls";
export const suites = [1, 2, 3, 4, 5, 6, 7, 0xf00d];
export const cannot = {
  propose: "makes no Update proposals",
  commitOne:
    "commits a single Remove or Update without the path that section 12.4 " +
    "of RFC 9420 demands, and is refused: it commits two",
  commitUpdates:
    "commits Updates of others with a path for the keys that they replace",
  removed: "does not take a commit with a path that removes it",
  external:
    "writes and reads external_pub without its length (section 12.4.3.2): it " +
    "takes the external commits of others",
  follow:
    "gives no tree to those who join a group that follows from another, so it " +
    "joins those that others make",
  points:
    "makes compressed keys for ECDSA, where section 5.1.1 wants uncompressed " +
    "ones: it is given those",
  derive:
    "derives X-Wing key pairs as an older draft did: it is given the way of " +
    "draft-ietf-hpke-pq",
  unmerged: "joins no tree where lists of unmerged leaves differ",
};

const suiteNames = new Map(
  Object.entries(mls.ciphersuites).map(([text, id]) => [id, text]),
);
const decode = (message) => {
  const found = mls.decode(mls.mlsMessageDecoder, message);
  if (found === undefined) throw new Error("ts-mls: does not parse");
  return found;
};
const encode = (message) => mls.encode(mls.mlsMessageEncoder, message);

// What SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", 32) adds to ikm.
const labeled = Buffer.from("HPKE-v1KEM\x64\x7a\0\x0dDeriveKeyPair\0\x20");
XWing.prototype.deriveKeyPair = async function (ikm) {
  const seed = shake256(Buffer.concat([new Uint8Array(ikm), labeled]), {
    dkLen: 32,
  });
  await this._setup();
  const [, publicKey] = await this._generateKeyPairDerand(seed);
  return {
    privateKey: await this.deserializePrivateKey(seed.buffer),
    publicKey: await this.deserializePublicKey(publicKey.buffer),
  };
};

// The suite, with signature keys in the format of RFC 9420.
export function withKeys(id, suite) {
  const curve = { 2: p256, 5: p521, 7: p384 }[id];
  if (!curve) return suite;
  const keygen = async () => {
    const signKey = curve.utils.randomSecretKey();
    return { signKey, publicKey: curve.getPublicKey(signKey, false) };
  };
  return { ...suite, signature: { ...suite.signature, keygen } };
}

export class Member {
  static async create(suite, identity) {
    const m = new this();
    m.identity = new TextEncoder().encode(identity);
    m.suite = await this.suite(suite);
    m.psks = {};
    m.public = false;
    return m;
  }

  static suite = async (id) =>
    withKeys(id, await mls.getCiphersuiteImpl(suiteNames.get(id)));

  async close() {}

  context() {
    return {
      cipherSuite: this.suite,
      authService: mls.unsafeTestingAuthenticationService,
      externalPsks: this.psks,
    };
  }

  // Takes a new state; null in the place of bytes that do not exist.
  made({ newState, commit, welcome }) {
    this.group = newState;
    return {
      commit: encode(commit),
      welcome: welcome ? encode(welcome) : new Uint8Array(),
    };
  }

  async keyPair() {
    this.package = await mls.generateKeyPackage({
      credential: {
        credentialType: mls.defaultCredentialTypes.basic,
        identity: this.identity,
      },
      cipherSuite: this.suite,
    });
    return this.package;
  }

  async keyPackage() {
    const { publicPackage } = await this.keyPair();
    return encode({
      keyPackage: publicPackage,
      wireformat: mls.wireformats.mls_key_package,
      version: mls.protocolVersions.mls10,
    });
  }

  async found(groupId) {
    const { publicPackage, privatePackage } = await this.keyPair();
    this.group = await mls.createGroup({
      context: this.context(),
      groupId,
      keyPackage: publicPackage,
      privateKeyPackage: privatePackage,
    });
  }

  async join(welcome) {
    this.group = await mls.joinGroup({
      context: this.context(),
      welcome: decode(welcome).welcome,
      keyPackage: this.package.publicPackage,
      privateKeys: this.package.privatePackage,
    });
  }

  async commit(extraProposals = []) {
    return this.made(
      await mls.createCommit({
        context: this.context(),
        state: this.group,
        extraProposals,
        ratchetTreeExtension: true,
        wireAsPublicMessage: this.public,
      }),
    );
  }

  addOf = (kp) => ({
    proposalType: mls.defaultProposalTypes.add,
    add: { keyPackage: decode(kp).keyPackage },
  });

  add = (...kps) => this.commit(kps.map(this.addOf));
  update = () => this.commit();
  commitPending = () => this.commit();

  leafOf(identity) {
    return this.group.ratchetTree.findIndex(
      (node) =>
        node?.leaf &&
        Buffer.from(node.leaf.credential.identity).equals(identity),
    );
  }

  remove = (...identities) =>
    this.commit(
      identities.map((identity) => ({
        proposalType: mls.defaultProposalTypes.remove,
        remove: { removed: this.leafOf(identity) / 2 },
      })),
    );

  inject = (id) =>
    this.commit([
      {
        proposalType: mls.defaultProposalTypes.psk,
        psk: {
          preSharedKeyId: {
            psktype: mls.pskTypes.external,
            pskId: id,
            pskNonce: crypto.getRandomValues(
              new Uint8Array(this.suite.kdf.size),
            ),
          },
        },
      },
    ]);

  async offer(id, key) {
    this.psks[mls.bytesToBase64(id)] = key;
  }

  async plain(on) {
    this.public = on;
  }

  reinit = async (groupId) =>
    this.made(
      await mls.reinitGroup({
        context: this.context(),
        state: this.group,
        groupId,
        version: "mls10",
        cipherSuite: suiteNames.get(this.suite.id),
      }),
    );

  heir = (welcome) => ({
    context: this.context(),
    welcome: decode(welcome).welcome,
    keyPackage: this.package.publicPackage,
    privateKeyPackage: this.package.privatePackage,
  });

  async joinHeir(welcome) {
    this.group = await mls.joinGroupFromReinit({
      suspendedState: this.group,
      ...this.heir(welcome),
    });
  }

  async joinBranch(welcome) {
    this.group = await mls.joinGroupFromBranch({
      oldState: this.group,
      ...this.heir(welcome),
    });
  }

  async proposeAdd(kp) {
    const { newState, message } = await mls.createProposal({
      context: this.context(),
      state: this.group,
      proposal: this.addOf(kp),
      wireAsPublicMessage: this.public,
    });
    this.group = newState;
    return encode(message);
  }

  // Its processMessage forgets external PSKs, so it is not called.
  async process(message) {
    const found = decode(message);
    const what = { context: this.context(), state: this.group, ...found };
    const result = await (found.privateMessage
      ? mls.processPrivateMessage(what)
      : mls.processPublicMessage(what));
    this.group = result.newState;
    return result.kind === "applicationMessage" ? result.message : null;
  }

  async send(text) {
    const { newState, message } = await mls.createApplicationMessage({
      context: this.context(),
      state: this.group,
      message: text,
    });
    this.group = newState;
    return encode(message);
  }

  async state() {
    return {
      epoch: Number(this.group.groupContext.epoch),
      authenticator: this.group.keySchedule.epochAuthenticator,
    };
  }

  active = async () => this.group.groupActiveState.kind === "active";

  exported = (label, context, length) =>
    mls.mlsExporter(
      this.group.keySchedule.exporterSecret,
      label,
      context,
      length,
      this.suite,
    );
}
