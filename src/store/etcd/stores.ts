/**
 * The file that names a distributed cluster's stores: where the control store is, where each cell is, and which files
 * prove to them who one is. Every role and `skein doctor` read the same one.
 *
 *   {
 *     "control": "etcds://c1:2379,c2:2379,c3:2379/prod",
 *     "cells": { "cell-eu-west-1": { "region": "eu-west-1", "address": "etcds://e1:2379,e2:2379,e3:2379/prod" } },
 *     "credentials": { "ca": "ca.pem", "certificate": "node.pem", "key": "node-key.pem", "user": "skein", "passwordFile": "pw" }
 *   }
 */
import { z } from 'zod';
import { StoreError } from '../store.ts';
import { isEtcdAddress, parseEtcdAddress } from './access.ts';

const address = z.string().check((context) => {
  try {
    if (!isEtcdAddress(context.value)) throw new Error('it does not begin with etcd:// or etcds://');
    parseEtcdAddress(context.value);
  } catch (error) {
    context.issues.push({ code: 'custom', message: (error as Error).message, input: context.value });
  }
});

const schema = z.strictObject({
  control: address,
  cells: z.record(z.string().min(1), z.strictObject({ region: z.string().min(1), address })).default({}),
  /** Paths; relative ones start at the file's own folder. */
  credentials: z
    .strictObject({
      ca: z.string().optional(),
      certificate: z.string().optional(),
      key: z.string().optional(),
      user: z.string().optional(),
      passwordFile: z.string().optional(),
    })
    .default({}),
});

export type StoresConfig = z.infer<typeof schema>;

/** @throws StoreError `invalid` that names the member at fault. */
export function parseStores(text: string, name: string): StoresConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new StoreError('invalid', `${name} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new StoreError('invalid', `${name}: ${issue!.path.join('.') || 'the file'}: ${issue!.message}`);
}
