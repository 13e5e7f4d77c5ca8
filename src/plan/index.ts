/** Target into plan: budgets, order, reasons; repair apart. */
export { MoveLedger } from './ledger.ts';
export { type InFlight, makePlan, type PlanInput, type PlanResult } from './plan.ts';
export { type Repair, type RepairResult, repairLost } from './repair.ts';
export {
  type MoveUnderWay,
  type Schedule,
  type ScheduleBudgets,
  type ScheduledMove,
  scheduleMoves,
  type WantedMove,
} from './schedule.ts';
