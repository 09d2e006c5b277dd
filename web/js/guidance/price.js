// What guidance costs: the rule of core/guidance/price.py, on what the node sent after its last run. Without a page.

// evaluations: [latest start, earliest end, plain passes, passes behind a draw]; settings: the values of the node's inputs.
// Gives model calls per image: of the sampler alone, those that guidance adds, and how many times as many both are.
export function priceOf(evaluations, settings) {
  const plain = evaluations.reduce((sum, [, , passes]) => sum + passes, 0);
  const { start_percent: start, end_percent: end } = settings;
  const active = evaluations.filter(([latest, earliest]) => start <= latest && end >= earliest);
  const draws = settings.strength === 0 ? 0 : drawsPerEvaluation(settings);
  const guiding = draws * active.reduce((sum, [, , , drawn]) => sum + drawn, 0);
  return { plain, guiding, times: plain ? (plain + guiding) / plain : 1 };
}

export const drawsPerEvaluation = ({ samples, mode }) => samples * (mode === "forward" ? 2 : 1);

// The preset "paper" takes values of its own, whatever the inputs say; paper: those values, or undefined before the first run.
export const effective = (settings, paper) => (settings.preset === "paper" && paper ? { ...settings, ...paper } : settings);
