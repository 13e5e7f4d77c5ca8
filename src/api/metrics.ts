/** The controller's Prometheus metrics: read from the controller when scraped, so that they cost nothing otherwise. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Controller } from '../controller/controller.ts';
import type { Operations } from '../controller/operations.ts';

export function controllerMetrics(operations: Operations): Registry {
  const registry = new Registry();
  const registers = [registry];
  const { controller } = operations;
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  gauge('skein_controller_leads', '1 on the controller that leads.', () =>
    controller.election.leads ? 1 : 0,
  );
  gauge('skein_nodes', 'Nodes registered.', () => controller.view.nodes.size);
  gauge(
    'skein_nodes_silent',
    'Nodes that did not answer the last pull of samples.',
    () => controller.sampler.missedInARow.size,
  );
  gauge('skein_shards', 'Shards assigned.', () => controller.view.assignments.size);
  gauge('skein_shards_orphaned', 'Shards whose process is gone.', () => operations.status().orphaned);
  gauge('skein_shards_quarantined', 'Shards in quarantine.', () => operations.status().quarantined);
  gauge('skein_migrations_under_way', 'Migrations under way.', () => controller.migrationsUnderWay().length);
  gauge(
    'skein_cost_usd_per_hour',
    'Cost of the present placement by the objective, with the forecast.',
    () => lastOf(controller)?.costUsdPerHour?.now ?? 0,
  );
  gauge(
    'skein_placement_certified_gap',
    'How far the target is from the certified lower bound of any placement, as a share of it.',
    () => lastOf(controller)?.certified?.gap ?? 0,
  );
  gauge(
    'skein_move_cpu_seconds_per_gb',
    'Core-seconds of each end for a gigabyte of a move, as placement has it; 0 while not measured.',
    () => controller.moveCpuSecondsPerGb,
  );
  gauge('skein_placement_infeasible', 'Shards and nodes whose hard constraints no placement can keep.', () =>
    (lastOf(controller)?.infeasible ?? []).reduce((sum, { count }) => sum + count, 0),
  );
  gauge(
    'skein_forecast_requests_per_second',
    'Median forecast of all requests.',
    () => lastOf(controller)?.forecastRequestsPerSecond?.p50 ?? 0,
  );
  gauge(
    'skein_requests_per_second',
    'Requests measured in the last step.',
    () => lastOf(controller)?.actualRequestsPerSecond ?? 0,
  );
  const qualities = [
    ['skein_forecast_p90_coverage', 'Share of steps at or below p90.', 'coverageP90'],
    ['skein_forecast_loss_against_naive', 'Error of p50 over that of seasonal naive.', 'lossAgainstNaive'],
  ] as const;
  for (const [name, help, field] of qualities)
    new Gauge({
      name,
      help,
      labelNames: ['ahead_s'],
      registers,
      collect() {
        this.reset();
        for (const quality of lastOf(controller)?.forecastQuality ?? [])
          this.set({ ahead_s: quality.aheadS }, quality[field]);
      },
    });
  const decisions = new Counter({
    name: 'skein_decisions_total',
    help: 'Ticks by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const thinking = new Histogram({
    name: 'skein_tick_seconds',
    help: 'Time of forecast and placement in a tick.',
    labelNames: ['part'],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
    registers,
  });
  const migrations = new Counter({
    name: 'skein_migrations_total',
    help: 'Migrations that ended, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const repairs = new Counter({
    name: 'skein_repaired_shards_total',
    help: 'Shards opened again after a node died.',
    registers,
  });
  controller.events.listen((event) => {
    const data = event.data as Record<string, unknown>;
    if (event.type === 'decision') {
      const decision = data as { outcome: string; tookMs: { forecast: number; placement: number } };
      decisions.inc({ outcome: decision.outcome });
      thinking.observe({ part: 'forecast' }, decision.tookMs.forecast / 1000);
      thinking.observe({ part: 'placement' }, decision.tookMs.placement / 1000);
    } else if (event.type === 'migration' && typeof data.outcome === 'string')
      migrations.inc({ outcome: data.outcome });
    else if (event.type === 'repair' && typeof data.activated === 'number') repairs.inc(data.activated);
  });
  return registry;
}

function lastOf(controller: Controller) {
  return controller.decisions.at(-1);
}
