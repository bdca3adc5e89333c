// SPDX-License-Identifier: GPL-2.0

//! Nothing: this package is its benchmarks.
