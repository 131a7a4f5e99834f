// Copies the parts of LiteRT.js that the page needs to `vendor/`; `npm ci` runs it.
//
// Workers know no import maps, so the one bare import of the library is turned
// into a path. Nothing else is changed, and nothing else of it is served.

import {copyFile, mkdir, readFile, rm, writeFile} from "node:fs/promises";

const here = new URL("./", import.meta.url);
const core = new URL("node_modules/@litertjs/core/", here);
const utils = new URL("node_modules/@litertjs/wasm-utils/", here);
const vendor = new URL("vendor/", here);

const BARE = 'from "@litertjs/wasm-utils"';

await rm(vendor, {recursive: true, force: true});
await mkdir(vendor);
const source = await readFile(new URL("dist/index.js", core), "utf8");
if (source.split(BARE).length !== 2) {
  throw new Error(`Expected one import ${BARE} in @litertjs/core. Update vendor.js.`);
}
await writeFile(new URL("litert.js", vendor),
  withoutMap(source.replace(BARE, 'from "./wasm-utils.js"')));
const helper = await readFile(new URL("dist/index.js", utils), "utf8");
await writeFile(new URL("wasm-utils.js", vendor), withoutMap(helper));
for (const build of ["litert_wasm_internal", "litert_wasm_compat_internal"]) {
  for (const file of [`${build}.js`, `${build}.wasm`]) {
    await copyFile(new URL(`wasm/${file}`, core), new URL(file, vendor));
  }
}

// The maps are not served, and browsers ask for what is named.
function withoutMap(text) {
  return text.replace(/^\/\/# sourceMappingURL=.*\n?/gm, "");
}
