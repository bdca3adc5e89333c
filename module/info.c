// SPDX-License-Identifier: GPL-2.0

/* What Rust's module! has no field for. */

#include <linux/module.h>

MODULE_VERSION(FEP_VERSION);
