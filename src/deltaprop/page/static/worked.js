// The active equation with its numbers, for one entry of its result. Nothing is computed here: the
// numbers on both sides are Python's, and this puts the signs between them.

import { short } from "./numbers.js";

const TERMS = 5; // of a sum that are written out

const bracket = (value) => (Number(value) < 0 ? `(${short(value)})` : short(value));
const product = (...factors) => factors.map(bracket).join(" · ");

function listed(terms, sign) {
  if (terms.length <= TERMS) return terms.join(sign);
  return [...terms.slice(0, TERMS - 1), "…", terms.at(-1)].join(sign);
}

const sum = (terms) => listed(terms, " + ");
const index = (n) => String(n).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);

const column = (values, c) => values.map((row) => row[c]);

// What stands right of the equals sign, and which rows and columns of the operands take part.
export function worked(step, answer, row, col) {
  const { kind, layer: l } = step;
  const at = Object.fromEntries(Object.entries(answer.matrices).map(([key, m]) => [key, m.values]));
  const result = at[step.key][row][col];
  const line = (right, marks) => ({ text: right ? `${right} = ${short(result)}` : short(result), marks });
  const share = answer.share === 1 ? "" : `${short(answer.share)} · `;

  if (kind === "a") {
    const [X, W, b] = [at[`X_${l}`][row], column(at[`W_${l}`], col), at[`b_${l}`][0][col]];
    return line(`${sum(X.map((x, d) => product(x, W[d])))} + ${bracket(b)}`,
      { [`X_${l}`]: { row }, [`W_${l}`]: { column: col }, [`b_${l}`]: { row: 0, column: col } });
  }
  if (kind === "f") {
    return line(`${step.function}(${short(at[`a_${l}`][row][col])})`, { [`a_${l}`]: { row, column: col } });
  }
  if (kind === "f of row") {
    const a = listed(at[`a_${l}`][row].map(short), ", ");
    return line(`${step.function}(${a})${index(col)}`, { [`a_${l}`]: { row } });
  }
  if (kind === "loss") {
    const losses = column(at.loss, 0);
    const data = share && losses.length > 1 ? `(${sum(losses.map(bracket))})` : sum(losses.map(bracket));
    const penalty = Number(answer.penalty) ? ` + ${short(answer.penalty)} for the weights` : "";
    return { text: `L = ${share}${data}${penalty} = ${short(answer.loss)}`,
      marks: { [step.operands[0]]: { row }, t: { row } } };
  }
  if (kind === "difference") {
    const [yhat, t] = [at[`X_${l + 1}`][row][col], at.t[row][col]];
    const difference = `${short(yhat)} − ${bracket(t)}`;
    return line(share ? `${share}(${difference})` : difference,
      { [`X_${l + 1}`]: { row, column: col }, t: { row, column: col } });
  }
  if (kind === "slope") {
    const slope = at[`slope_${l}`][row][col];
    const here = { row, column: col };
    if (at[`pull_${l}`]) {
      return line(product(at[`pull_${l}`][row][col], slope), { [`slope_${l}`]: here, [`pull_${l}`]: here });
    }
    const [delta, W] = [at[`delta_${l + 1}`][row], at[`W_${l + 1}`][col]];
    return line(`${bracket(slope)} · (${sum(delta.map((d, k) => product(d, W[k])))})`,
      { [`slope_${l}`]: here, [`delta_${l + 1}`]: { row }, [`W_${l + 1}`]: { row: col } });
  }
  if (kind === "coupled") {
    const [z, g] = [at[`X_${l + 1}`][row], at[`pull_${l}`][row]];
    return line(`${bracket(z[col])} · (${short(g[col])} − (${sum(g.map((v, k) => product(v, z[k])))}))`,
      { [`X_${l + 1}`]: { row }, [`pull_${l}`]: { row } });
  }
  if (kind === "dW") {
    const [X, delta] = [column(at[`X_${l}`], row), column(at[`delta_${l}`], col)];
    const penalty = at[`W_${l}`] ? ` + ${short(answer.strength)} · ${bracket(at[`W_${l}`][row][col])}` : "";
    return line(sum(X.map((x, n) => product(x, delta[n]))) + penalty, {
      [`X_${l}`]: { column: row }, [`delta_${l}`]: { column: col }, [`W_${l}`]: { row, column: col } });
  }
  if (kind === "db") {
    return line(sum(column(at[`delta_${l}`], col).map(bracket)), { [`delta_${l}`]: { column: col } });
  }
  return line("", Object.fromEntries(step.operands.map((key) => [key, { row }])));
}
