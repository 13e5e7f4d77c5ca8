/** Measured load on one grid of steps. */
export type { LoadStep } from './step.ts';
export * from './windows.ts';
