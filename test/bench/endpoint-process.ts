/** The embedded endpoint as a process of its own, whose processor time can be told; see storage.ts. */
import { startEndpoint, type EndpointOptions } from '../../lib/endpoint/endpoint.js';

const options = JSON.parse(process.env['BENCH_ENDPOINT'] ?? '') as EndpointOptions;
const endpoint = await startEndpoint(options);
process.stderr.write(`listening at ${endpoint.url}\n`);
