/**
 * The environment for programs of the system that this one starts: nothing of our own, which may hold
 * credentials, and messages in English. Where mount(8) lives is named for a service that starts with
 * an empty PATH; parts of PATH that are relative would have root run what lies where it stands.
 */
import { isAbsolute } from 'node:path';

const usual = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const own = (process.env['PATH'] ?? '').split(':').filter(isAbsolute);

export const bareEnvironment = { PATH: [...own, ...usual].join(':'), LC_ALL: 'C' };
