# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulator of the registry operator: for the same inputs, the writes and conditions that recordings of it show.

Pure modules (no I/O): names, golang, spec, conditions, render, storage (except for the calls of its `World`).
Modules with I/O: api (REST and watches), s3 (the real S3 API), cluster (caches and writes), bootstrap (installation),
registry and others (the controllers), workqueue (their waiting), __main__ (the process).
"""
