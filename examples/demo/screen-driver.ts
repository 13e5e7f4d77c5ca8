/** Puts the screen on a terminal twice a second, or a plain line every few seconds where there is no terminal. */
import { renderLine, renderScreen } from './screen.ts';
import type { DemoView } from './view.ts';

const SCREEN_EVERY_MS = 500;
const LINE_EVERY_MS = 2_000;
const ALTERNATE_SCREEN_ON = '\u001b[?1049h\u001b[?25l';
const ALTERNATE_SCREEN_OFF = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

export class ScreenDriver {
  readonly #out: NodeJS.WriteStream;
  readonly #view: () => DemoView;
  readonly #timer: NodeJS.Timeout;
  readonly #screen: boolean;
  #closed = false;

  constructor(out: NodeJS.WriteStream, view: () => DemoView) {
    this.#out = out;
    this.#view = view;
    this.#screen = out.isTTY === true && process.env.TERM !== 'dumb';
    if (this.#screen) out.write(ALTERNATE_SCREEN_ON);
    this.#timer = setInterval(() => this.draw(), this.#screen ? SCREEN_EVERY_MS : LINE_EVERY_MS);
  }

  draw(): void {
    if (this.#closed) return;
    if (!this.#screen) {
      this.#out.write(`${renderLine(this.#view())}\n`);
      return;
    }
    const { columns = 80, rows = 24 } = this.#out;
    const color = process.env.NO_COLOR === undefined;
    const lines = renderScreen(this.#view(), { columns, rows: rows - 1, color });
    this.#out.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_BELOW}`);
  }

  /** Gives the terminal back, with one line of how it stood. */
  close(): void {
    if (this.#closed) return;
    clearInterval(this.#timer);
    if (this.#screen) this.#out.write(ALTERNATE_SCREEN_OFF);
    this.#screen ? this.#out.write(`${renderLine(this.#view())}\n`) : this.draw();
    this.#closed = true;
  }
}
