// SPDX-License-Identifier: GPL-2.0

//! What the module has seen of each back-end node, and what it was told of it.

use fep_uapi::NodeRecord;

use crate::error::Error;
use crate::name::{NodeAddr, ServiceKey};

/// The first minor version of the ABI that lists nodes.
pub(crate) const NODES_SINCE: u32 = 2;

/// A back-end node of a service, and what was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeDetails {
    /// The service.
    pub service: ServiceKey,
    /// The node.
    pub backend: NodeAddr,
    /// Its priority; the lower number comes first.
    pub priority: u32,
    /// Its load as last reported, 0 until then.
    pub load: u32,
    /// Its allocated routes.
    pub routes: u64,
    /// Connections whose SYN it did not answer: their routes ended by timeout.
    pub syn_unanswered: u64,
    /// Connections whose SYN it answered with a reset.
    pub syn_reset: u64,
    /// SYNs that clients repeated because there was no answer for a second or longer.
    pub syn_repeated: u64,
}

impl TryFrom<&NodeRecord> for NodeDetails {
    type Error = Error;

    fn try_from(record: &NodeRecord) -> Result<Self, Error> {
        Ok(Self {
            service: ServiceKey::try_from(&record.service)?,
            backend: NodeAddr::try_from(&record.backend)?,
            priority: record.priority,
            load: record.load,
            routes: record.routes,
            syn_unanswered: record.syn_unanswered,
            syn_reset: record.syn_reset,
            syn_repeated: record.syn_repeated,
        })
    }
}
