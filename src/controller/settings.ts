/** What an operator sets while the cluster runs; kept in the control store, so that the next leader goes on with it. */
import type { ControllerMode } from '../model/loop.ts';

export interface ControllerSettings {
  mode: ControllerMode;
  setAtMs: number;
}

export const CONTROLLER_MODES: readonly ControllerMode[] = ['observe', 'recommend', 'auto'];
export const SETTINGS_PREFIX = 'config/';
export const SETTINGS_KEY = `${SETTINGS_PREFIX}controller`;
