// Reads {"document": the OpenAPI document, "samples": [{"what", "schema", "value"}]} from standard input; says which value does not have its
// shape, or has a member that its shape does not tell of, a line each.
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

const { document, samples } = JSON.parse(readFileSync(0, 'utf8'));
const shapes = document.components.schemas;
const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema({ $id: 'api', components: document.components });

// The members that a shape names; null when any may be there.
function members(shape) {
  if (shape.$ref) return members(shapes[shape.$ref.split('/').pop()]);
  if (shape.additionalProperties) return null;
  const found = [shape, ...(shape.allOf ?? [])].flatMap((part) => part.$ref ? members(part) : Object.keys(part.properties ?? {}));
  return found.length ? found : null;
}

for (const { what, schema, value } of samples) {
  const check = ajv.compile({ $ref: `api#/components/schemas/${schema}` });
  if (!check(value)) console.log(`${what} is no ${schema}: ${ajv.errorsText(check.errors)}`);
  const known = value && typeof value === 'object' && !Array.isArray(value) && members(shapes[schema]);
  for (const name of known ? Object.keys(value) : [])
    if (!known.includes(name)) console.log(`${what}: a ${schema} has no ${name}`);
}
