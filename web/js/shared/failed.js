// The sentence that names images without a score, which the server sends in English.

import { isNumber } from "./scales.js";
import { speaker } from "./settings.js";

const say = speaker({
  en: { failed: "{sentence}" },
  zh: { failed: "第 {images} 张图像（共 {size} 张）失败：模型给出了非有限数值（NaN）。失败的图像没有分数，排名最后并被拒绝。" },
});

export function failedWords(sentence, scores) {
  const images = scores.flatMap((score, image) => (isNumber(score) ? [] : [image + 1]));
  return say("failed", { sentence, images: images.join("、"), size: scores.length });
}
