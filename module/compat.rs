// SPDX-License-Identifier: GPL-2.0

//! Differences between the supported kernels, all in one place.

use core::borrow::Borrow;

/// The value of a module parameter: `value()` returns it in 7.3, a reference to it in 7.2.
pub(crate) fn parameter(value: impl Borrow<u32>) -> u32 {
    *value.borrow()
}
