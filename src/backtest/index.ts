/**
 * The backtest: policies replayed over load traces in virtual time, compared at equal dollars. docs/backtest.md explains the
 * model; `skein backtest` is the command.
 */
export {
  compareSeed,
  type FrontierPoint,
  frontier,
  type Interval,
  type SeedComparison,
  type Verdict,
} from './compare.ts';
export { experiment, type Progress, type Report, reportOf } from './experiment.ts';
export { GENERATORS } from './generate.ts';
export { type ClusterModel, POLICY_IDS, POLICY_TEXT, type PolicyId, type RunResult } from './model.ts';
export { reportPage, standbyNote } from './report-page.ts';
export { RUN_COLUMNS, type RunColumn } from './run-columns.ts';
export { clusterOf, DEFAULT_SCENARIO, parseScenario, type Scenario, ScenarioError } from './scenario.ts';
export { SCENARIOS } from './scenarios.ts';
export { type Part, type PartResult, partText, type SeedReport, SeedRun } from './seed-run.ts';
export { onGrid, parseCsv, parseJsonLines, type Series, TraceError } from './series.ts';
