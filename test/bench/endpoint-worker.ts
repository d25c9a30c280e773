/** The embedded endpoint as a thread of its own; see storage.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { startEndpoint, type EndpointOptions } from '../../lib/endpoint/endpoint.js';

const endpoint = await startEndpoint(workerData as EndpointOptions);
parentPort?.postMessage(endpoint.url);
