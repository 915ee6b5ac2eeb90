// SPDX-License-Identifier: Apache-2.0
// Says hello and ping over the WebSocket at the address that is given.
'use strict';

if (typeof WebSocket === 'undefined') {
  console.log('no WebSocket');
  process.exit(1);
}

function frame(id, content) {
  const out = Buffer.alloc(9 + content.length);
  out.writeUInt32BE(5 + content.length, 0);
  out.writeUInt8(1, 4);
  out.writeUInt32BE(id, 5);
  content.copy(out, 9);
  return out;
}

const ws = new WebSocket(process.argv[2], 'sotto.1');
let received = Buffer.alloc(0);
ws.binaryType = 'arraybuffer';
ws.onopen = () => {
  const hello = Buffer.alloc(37);
  hello.writeUInt16BE(1, 0);
  hello.writeUInt16BE(1, 2);
  hello.writeUInt8(2, 4);
  const both = Buffer.concat([frame(5, hello), frame(6, Buffer.from([0, 2]))]);
  ws.send(both.subarray(0, 20)); // frames are cut anywhere
  ws.send(both.subarray(20));
};
ws.onmessage = (event) => {
  received = Buffer.concat([received, Buffer.from(event.data)]);
  const first = 4 + (received.length >= 4 ? received.readUInt32BE(0) : 0);
  if (received.length < first + 12) return;
  const good = received.readUInt32BE(5) === 5 && received[11] === 0 &&
      received.readUInt32BE(first + 5) === 6 && received[first + 11] === 0;
  ws.onclose = (end) => process.exit(good && end.code === 1000 ? 0 : 1);
  ws.close(1000);
};
ws.onerror = (event) => {
  console.log('failed', event.message || event.error);
  process.exit(1);
};
