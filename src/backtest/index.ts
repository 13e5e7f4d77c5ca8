/**
 * The backtest: policies replayed over load traces in virtual time, compared at equal dollars. docs/backtest.md explains the
 * model; `skein backtest` is the command.
 */
export { type FrontierPoint, frontier, type Interval, type SeedComparison, type Verdict } from './compare.ts';
export {
  experiment,
  type Progress,
  type Report,
  reportOf,
  type SeedReport,
  seedReport,
} from './experiment.ts';
export { GENERATORS } from './generate.ts';
export { POLICY_IDS, POLICY_TEXT, type PolicyId, type RunResult } from './model.ts';
export { reportPage, standbyNote } from './report-page.ts';
export { RUN_COLUMNS, type RunColumn } from './run-columns.ts';
export { clusterOf, DEFAULT_SCENARIO, parseScenario, type Scenario, ScenarioError } from './scenario.ts';
export { SCENARIOS } from './scenarios.ts';
export { onGrid, parseCsv, parseJsonLines, type Series, TraceError } from './series.ts';
