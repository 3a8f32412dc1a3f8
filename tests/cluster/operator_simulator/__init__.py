# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulator of the registry operator: same inputs, same writes, same conditions as recordings of the genuine one show.

Pure rooms (no I/O): golang, spec, conditions, storage (but for the calls it is handed), render, pruner.
I/O rooms: api (REST and watches), s3 (the real S3 API), controllers (the loops), __main__ (the process).
"""
