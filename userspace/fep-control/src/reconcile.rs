// SPDX-License-Identifier: GPL-2.0

//! What the filter should hold: the configuration with the decisions applied to it.
//!
//! [`wanted`] with [`fep_client::diff::diff`] is the smallest commit: what did not change is not in
//! it.

use std::collections::BTreeMap;

use fep_client::{Config, NodeAddr, ServiceKey, Weight};

use crate::load::Permille;
use crate::pool::Verdict;

/// What is decided about one node of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it gets clients.
    pub verdict: Verdict,
    /// The share of its weight it gets by its load.
    pub ratio: Permille,
    /// Whether it is in maintenance.
    pub drained: bool,
}

/// The decisions by service and node.
pub type Decisions = BTreeMap<(ServiceKey, NodeAddr), Decision>;

/// `desired` with the decisions applied.
///
/// A node without a decision keeps its weight, and its mark is left as it is. A weight that is not
/// 0 becomes 0 through maintenance alone, never through a small share.
pub fn wanted(desired: &Config, decisions: &Decisions) -> Config {
    let mut wanted = desired.clone();
    for service in wanted.services.iter_mut().flatten() {
        for backend in &mut service.backends {
            let Some(decision) = decisions.get(&(service.key, backend.addr)) else {
                continue;
            };
            backend.failed = Some(decision.verdict == Verdict::Ejected);
            backend.weight = Weight(weight(backend.weight.0, decision));
        }
    }
    wanted
}

fn weight(whole: u32, decision: &Decision) -> u32 {
    if decision.drained || whole == 0 {
        return 0;
    }
    let percent = match decision.verdict {
        Verdict::Serve(percent) => percent,
        // A failed node keeps its weight beside its mark: one change fewer each way.
        Verdict::Kept | Verdict::Ejected => 100,
    };
    let share = u64::from(whole) * u64::from(percent) * u64::from(decision.ratio.min(1000));
    u32::try_from(share.div_ceil(100_000)).map_or(whole, |share| share.clamp(1, whole))
}
