/** The same for what comes back from a disk or a wire, another for anything else. */
import { Packr } from 'msgpackr';
import { expect, it } from 'vitest';
import { digestOf } from './digest.ts';

const state = {
  a: [1, -0, Number.NaN, 0.1, 'x', true, undefined],
  b: { c: undefined, d: null, e: Number.NaN },
  f: '',
};

it('survives JSON and msgpack', () => {
  const packer = new Packr();
  expect(digestOf(JSON.parse(JSON.stringify(state)))).toBe(digestOf(state));
  expect(digestOf(packer.unpack(packer.pack(state)))).toBe(digestOf(state));
});

it.each([
  ['a number', { ...state, a: [2] }],
  ['an end', { ...state, a: state.a.slice(0, -1) }],
  ['an order', { ...state, a: [...state.a].reverse() }],
  ['a text', { ...state, f: 'y' }],
  ['a kind', { ...state, a: [1, 0, Number.NaN, '0.1', 'x', true, undefined] }],
  ['a member', { ...state, g: 1 }],
])('changes with %s', (_text, other) => {
  expect(digestOf(other)).not.toBe(digestOf(state));
});
