#!/usr/bin/env node
import launch = require('./launch.cjs');

launch('mount.s3jail');
