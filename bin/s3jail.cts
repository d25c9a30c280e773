#!/usr/bin/env node
import launch = require('./launch.cjs');

launch('s3jail');
