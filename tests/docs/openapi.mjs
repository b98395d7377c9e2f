// Reads {"document": the OpenAPI document, "samples": [{"what", "schema", "value"}]} from standard input; says what is wrong, a line each.
import { readFileSync, writeFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { createConfig, lint } from '@redocly/openapi-core';
import Ajv from 'ajv/dist/2020.js';

const { document, samples } = JSON.parse(readFileSync(0, 'utf8'));
const wrong = [];

const validity = await new Validator().validate(structuredClone(document));
if (!validity.valid) wrong.push(`not valid OpenAPI: ${JSON.stringify(validity.errors)}`);

const file = join(mkdtempSync(join(tmpdir(), 'rivulet-openapi-')), 'openapi.json');
writeFileSync(file, JSON.stringify(document));
const config = await createConfig({ extends: ['recommended'], rules: { 'info-license': 'off' } });
for (const problem of await lint({ ref: file, config }))
  wrong.push(`${problem.severity} ${problem.ruleId}: ${problem.message} at ${problem.location[0]?.pointer}`);

const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema({ $id: 'api', components: document.components });
for (const { what, schema, value } of samples) {
  const check = ajv.compile({ $ref: `api#/components/schemas/${schema}` });
  if (!check(value)) wrong.push(`${what} is no ${schema}: ${ajv.errorsText(check.errors)}: ${JSON.stringify(value).slice(0, 400)}`);
}
for (const line of wrong) console.log(line);
