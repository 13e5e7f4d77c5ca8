/**
 * Reads an instance: JSON Lines, the header first. Every fault names the line, the JSON path and what was expected.
 *
 * Boundary: text in, objects out; `build.ts` makes numbers of them. Each line is parsed and checked alone, so a file of a
 * million shards needs the memory of one line.
 */
import { DEFAULT_WEIGHTS, type InstanceHeader, type InstanceShard, RESOURCES, SPREADS } from './types.ts';

/** Limits of an instance: beyond them the solver's arrays would not fit, or a file is not what it seems. */
export const LIMITS = { regions: 256, nodes: 50_000, steps: 24, standbys: 6, shards: 5_000_000 } as const;

export class InstanceError extends Error {
  override readonly name = 'InstanceError';
  readonly line: number;
  readonly path: string;
  readonly expected: string;

  constructor(line: number, path: string, expected: string, got: unknown) {
    super(`line ${line}: ${path === '' ? 'the line' : path}: expected ${expected}, got ${show(got)}`);
    this.line = line;
    this.path = path;
    this.expected = expected;
  }
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  // JSON has no infinity, but a number like 1e999 becomes one.
  if (typeof value === 'number') return String(value);
  const text = jsonOf(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS - 3)}...` : text;
}

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    // JSON can be read that is nested deeper than it could be written.
    return Array.isArray(value) ? 'a deep list' : 'a deep object';
  }
}

type Fields = Record<string, unknown>;

/** A field that is not known is a typing error: a `primry` that is passed over would place a shard anew. */
const HEADER_FIELDS = new Set(
  'regions rttMs egressUsdPerGb bandwidthBps cells nodes steps stepWeights weights shards'.split(' '),
);
const NODE_FIELDS = new Set(
  'id region zone capacity usdPerHour releasable cordoned draining versions'.split(' '),
);
const SHARD_FIELDS = new Set(
  'id load commandsPerSecond queriesPerSecond bytesPerRequest stateBytes writeBytesPerSecond standbys allowedRegions primary standbyNodes inFlight pinnedTo quarantined version spread'.split(
    ' ',
  ),
);
/** No load, price or distance is larger; products of such numbers are still finite. */
const NUMBER_MAX = 1e30;
/** What divides is no smaller. */
const DIVISOR_MIN = 1e-30;
/** Characters shown of what was found. */
const SHOWN_CHARS = 60;
/** First character of what gzip packs, read as text. */
const GZIP = '\u001f';

/** Checks one header line and then shard lines, in order. */
export class InstanceReader {
  #line = 0;
  #header: InstanceHeader | undefined;
  #regions = new Set<string>();
  #nodes = new Set<string>();
  readonly #ids = new Set<string>();

  /** Lines read. */
  get line(): number {
    return this.#line;
  }

  /** Counts a line that holds nothing. */
  skip(): void {
    this.#line++;
  }

  /** To be called after the last line: a file that was cut between two lines is told by what its header promised. */
  end(): void {
    const promised = this.#header?.shards;
    if (promised !== undefined && promised !== this.#ids.size)
      throw new InstanceError(1, 'shards', `as many as lines follow (${this.#ids.size})`, promised);
  }

  header(line: string): InstanceHeader {
    const text = line.replace(/^\uFEFF/, '');
    if (text.trim() === '') throw new InstanceError(1, '', 'a header, as the first line', 'nothing at all');
    if (text.startsWith(GZIP)) {
      this.#line++;
      this.#fail('', 'JSON Lines as plain text: unpack the file first', 'a gzip file');
    }
    const h = this.#object(text);
    this.#known(h, '', HEADER_FIELDS);
    const regions = this.#list(h.regions, 'regions', 1, LIMITS.regions).map((name, i) =>
      this.#text(name, `regions[${i}]`),
    );
    this.#regions = new Set(regions);
    if (this.#regions.size !== regions.length) this.#fail('regions', 'names that differ', h.regions);
    this.#matrix(h.rttMs, 'rttMs', regions.length);
    this.#matrix(h.egressUsdPerGb, 'egressUsdPerGb', regions.length);
    if (typeof h.bandwidthBps === 'number') this.#number(h.bandwidthBps, 'bandwidthBps', 1);
    else this.#matrix(h.bandwidthBps, 'bandwidthBps', regions.length);
    this.#list(h.cells, 'cells', 1, 10_000).forEach((cell, i) => {
      const fields = this.#fields(cell, `cells[${i}]`);
      this.#text(fields.id, `cells[${i}].id`);
      this.#region(fields.region, `cells[${i}].region`);
    });
    const steps = this.#whole(h.steps, 'steps', 1, LIMITS.steps);
    if (h.stepWeights !== undefined) {
      const weights = this.#list(h.stepWeights, 'stepWeights', steps, steps);
      weights.forEach((weight, t) => {
        this.#number(weight, `stepWeights[${t}]`, 0);
      });
      if (weights.every((weight) => weight === 0)) this.#fail('stepWeights', 'at least one above 0', weights);
    }
    if (h.shards !== undefined) this.#whole(h.shards, 'shards', 0, LIMITS.shards);
    this.#weights(h.weights);
    this.#list(h.nodes, 'nodes', 1, LIMITS.nodes).forEach((node, i) => {
      this.#node(node, `nodes[${i}]`);
    });
    this.#header = h as unknown as InstanceHeader;
    return this.#header;
  }

  shard(text: string): InstanceShard {
    const header = this.#header!;
    const s = this.#object(text);
    this.#known(s, '', SHARD_FIELDS);
    const id = this.#text(s.id, 'id');
    if (this.#ids.has(id)) this.#fail('id', 'an id that no earlier line has', id);
    if (this.#ids.size >= LIMITS.shards) this.#fail('', `at most ${LIMITS.shards} shards`, 'one more');
    this.#ids.add(id);
    const load = this.#list(s.load, 'load', header.steps, header.steps);
    for (let t = 0; t < load.length; t++) {
      const step = this.#fields(load[t], `load[${t}]`);
      for (const name of RESOURCES) {
        const path = () => `load[${t}].${name}`;
        const moments = step[name];
        if (
          !Array.isArray(moments) ||
          moments.length !== 2 ||
          !(moments[0] >= 0) ||
          !(moments[1] >= 0) ||
          typeof moments[0] !== 'number' ||
          typeof moments[1] !== 'number' ||
          moments[0] > NUMBER_MAX ||
          moments[1] > NUMBER_MAX
        )
          this.#fail(path(), `[mean, variance], both numbers from 0 to ${NUMBER_MAX}`, moments);
      }
    }
    this.#rates(s.commandsPerSecond, 'commandsPerSecond');
    this.#rates(s.queriesPerSecond, 'queriesPerSecond');
    this.#number(s.bytesPerRequest, 'bytesPerRequest', 0);
    this.#number(s.stateBytes, 'stateBytes', 0);
    this.#number(s.writeBytesPerSecond, 'writeBytesPerSecond', 0);
    const standbys = this.#whole(s.standbys, 'standbys', 0, LIMITS.standbys);
    if (s.allowedRegions !== undefined)
      this.#list(s.allowedRegions, 'allowedRegions', 1, LIMITS.regions).forEach((region, i) => {
        this.#region(region, `allowedRegions[${i}]`);
      });
    // A node that is gone may still be named: its replicas are nowhere, and repaired.
    if (s.primary !== undefined && s.primary !== null) this.#text(s.primary, 'primary');
    if (s.standbyNodes !== undefined) {
      const nodes = this.#list(s.standbyNodes, 'standbyNodes', 0, LIMITS.standbys);
      nodes.forEach((node, i) => {
        this.#text(node, `standbyNodes[${i}]`);
        if (node === s.primary || nodes.indexOf(node) !== i)
          this.#fail(`standbyNodes[${i}]`, 'a node that holds no other replica of the shard', node);
      });
      if (nodes.length > standbys) this.#fail('standbyNodes', `at most ${standbys} (standbys)`, nodes);
    }
    for (const name of ['inFlight', 'pinnedTo'] as const)
      if (s[name] !== undefined && !this.#nodes.has(this.#text(s[name], name)))
        this.#fail(name, 'the id of a node of the header', s[name]);
    if (s.quarantined !== undefined && typeof s.quarantined !== 'boolean')
      this.#fail('quarantined', 'true or false', s.quarantined);
    if (s.version !== undefined) this.#whole(s.version, 'version', 0, 2 ** 31);
    if (s.spread !== undefined && !(SPREADS as readonly unknown[]).includes(s.spread))
      this.#fail('spread', `one of ${SPREADS.join(', ')}`, s.spread);
    return s as unknown as InstanceShard;
  }

  #node(value: unknown, path: string): void {
    const node = this.#fields(value, path);
    this.#known(node, `${path}.`, NODE_FIELDS);
    const id = this.#text(node.id, `${path}.id`);
    if (this.#nodes.has(id)) this.#fail(`${path}.id`, 'an id that no other node has', id);
    this.#nodes.add(id);
    this.#region(node.region, `${path}.region`);
    this.#text(node.zone, `${path}.zone`);
    const capacity = this.#fields(node.capacity, `${path}.capacity`);
    for (const name of RESOURCES) this.#number(capacity[name], `${path}.capacity.${name}`, DIVISOR_MIN);
    this.#number(node.usdPerHour, `${path}.usdPerHour`, 0);
    for (const name of ['releasable', 'cordoned', 'draining'] as const)
      if (node[name] !== undefined && typeof node[name] !== 'boolean')
        this.#fail(`${path}.${name}`, 'true or false', node[name]);
    if (node.versions !== undefined)
      for (const [service, version] of Object.entries(this.#fields(node.versions, `${path}.versions`)))
        this.#whole(version, `${path}.versions.${service}`, 0, 2 ** 31);
  }

  #weights(value: unknown): void {
    if (value === undefined) return;
    const weights = this.#fields(value, 'weights');
    for (const [name, given] of Object.entries(weights)) {
      const path = `weights.${name}`;
      if (!Object.hasOwn(DEFAULT_WEIGHTS, name))
        this.#fail(path, `one of ${Object.keys(DEFAULT_WEIGHTS).join(', ')}`, name);
      if (name === 'standbyShare' || name === 'commonVariation') {
        for (const [resource, share] of Object.entries(this.#fields(given, path))) {
          if (!(RESOURCES as readonly string[]).includes(resource))
            this.#fail(`${path}.${resource}`, `one of ${RESOURCES.join(', ')}`, resource);
          if (this.#number(share, `${path}.${resource}`, 0) > 1)
            this.#fail(`${path}.${resource}`, 'a share of at most 1', share);
        }
        continue;
      }
      this.#number(given, path, 0);
    }
    const { headroom, moveHours } = weights as { headroom?: number; moveHours?: number };
    if (headroom !== undefined && headroom >= 1) this.#fail('weights.headroom', 'below 1', headroom);
    if (moveHours !== undefined) this.#number(moveHours, 'weights.moveHours', DIVISOR_MIN);
  }

  #rates(value: unknown, path: string): void {
    const rates = this.#fields(value, path);
    const { steps } = this.#header!;
    for (const origin in rates) {
      if (!this.#regions.has(origin))
        this.#fail(`${path}.${origin}`, 'the name of a region of the header', origin);
      const values = rates[origin];
      if (!Array.isArray(values) || values.length !== steps)
        this.#fail(`${path}.${origin}`, `${steps} rates, one a step`, values);
      for (let t = 0; t < steps; t++)
        if (typeof values[t] !== 'number' || !(values[t] >= 0 && values[t] <= NUMBER_MAX))
          this.#fail(`${path}.${origin}[${t}]`, `a number from 0 to ${NUMBER_MAX}`, values[t]);
    }
  }

  #object(text: string): Fields {
    this.#line++;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new InstanceError(this.#line, '', `a JSON object (${(error as Error).message})`, text);
    }
    return this.#fields(value, '');
  }

  #fields(value: unknown, path: string): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      this.#fail(path, 'an object', value);
    return value as Fields;
  }

  #known(fields: Fields, path: string, names: ReadonlySet<string>): void {
    for (const name in fields)
      if (!names.has(name)) this.#fail(`${path}${name}`, `one of ${[...names].join(', ')}`, name);
  }

  #list(value: unknown, path: string, min: number, max: number): unknown[] {
    if (!Array.isArray(value) || value.length < min || value.length > max)
      this.#fail(path, min === max ? `a list of ${min}` : `a list of ${min} to ${max}`, value);
    return value as unknown[];
  }

  #matrix(value: unknown, path: string, size: number): void {
    this.#list(value, path, size, size).forEach((row, i) => {
      this.#list(row, `${path}[${i}]`, size, size).forEach((cell, j) => {
        this.#number(cell, `${path}[${i}][${j}]`, 0);
      });
    });
  }

  #text(value: unknown, path: string): string {
    if (typeof value !== 'string' || value === '') this.#fail(path, 'a text that is not empty', value);
    return value as string;
  }

  #region(value: unknown, path: string): void {
    if (!this.#regions.has(this.#text(value, path)))
      this.#fail(path, 'the name of a region of the header', value);
  }

  #number(value: unknown, path: string, min: number): number {
    if (typeof value !== 'number' || !(value >= min && value <= NUMBER_MAX))
      this.#fail(path, `a number from ${min} to ${NUMBER_MAX}`, value);
    return value as number;
  }

  #whole(value: unknown, path: string, min: number, max: number): number {
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max)
      this.#fail(path, `a whole number from ${min} to ${max}`, value);
    return value as number;
  }

  #fail(path: string, expected: string, got: unknown): never {
    throw new InstanceError(this.#line, path, expected, got);
  }
}
