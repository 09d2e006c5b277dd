// What a node sent, as pages that can be drawn one by one; the files behind them are fetched once.

import { api } from "../../../../scripts/api.js";
import { enlarge, readPlane, sortedValues } from "./field.js";
import { gridOf } from "./box.js";

const SIDE = 256; // what a map is enlarged to for drawing
const KEPT_FILES = 12;
const files = new Map(); // the levels of the latest maps, by the name of their file

export const address = ({ filename, subfolder, type }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder: subfolder ?? "", type: type ?? "temp" })}`);

// views: what the node sent, one for each time it ran; side: "main" or "other". null where there is no such side.
export function pagesOf(views, side) {
  let start = 0;
  const pages = views.flatMap((view) => {
    const { [side]: one } = view;
    if (!one) return [];
    const made = one.pages.map((page, place) => ({ ...page, place, index: start + page.index, image: start + page.image, of: one }));
    start += one.count;
    return made;
  });
  return pages.length ? pages : null;
}

// { picture: an image or null, plane, grid, sorted: or null without a map, aspect }
export async function openPage(page) {
  const [picture, levels] = await Promise.all([page.picture ? openPicture(page.picture) : null, page.of.map ? levelsOf(page.of.map.file) : null]);
  const plane = levels && readPlane(levels, page.place, page.of.map, page);
  const aspect = picture ? picture.naturalWidth / picture.naturalHeight : plane.width / plane.height;
  const grid = plane && enlarge(plane, ...gridOf(aspect, SIDE));
  return { page, picture, plane, grid, sorted: grid && sortedValues(grid), aspect };
}

async function openPicture(file) {
  const picture = new Image();
  picture.src = address(file);
  picture.alt = "";
  await picture.decode();
  return picture;
}

export async function levelsOf(file) {
  if (!files.has(file.filename)) {
    files.set(file.filename, fetchLevels(file));
    if (files.size > KEPT_FILES) files.delete(files.keys().next().value);
  }
  try {
    return await files.get(file.filename);
  } catch (error) {
    files.delete(file.filename);
    throw error;
  }
}

async function fetchLevels(file) {
  const reply = await fetch(address(file));
  if (!reply.ok) throw new Error(`no map: ${reply.status}`);
  const bytes = new DataView(await reply.arrayBuffer());
  return Uint16Array.from({ length: bytes.byteLength / 2 }, (_, i) => bytes.getUint16(2 * i, true));
}
