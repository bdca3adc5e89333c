// SPDX-License-Identifier: GPL-2.0

//! What the module tells without being asked.

use fep_uapi::EventKind;

use crate::error::Error;
use crate::name::{NodeAddr, ServiceKey};

/// Something that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number: one more for each event of the namespace.
    pub sequence: u64,
    /// What has happened; `None` for a kind that is newer than this program.
    pub kind: Option<EventKind>,
    /// The module's code of the kind.
    pub code: u32,
    /// Events before this one that there was no room for.
    pub lost: u32,
    /// Generation of the configuration.
    pub generation: u64,
    /// The service, if it is about one.
    pub service: Option<ServiceKey>,
    /// The node, if it is about one.
    pub backend: Option<NodeAddr>,
    /// Connections whose SYN the node did not answer, since it was added.
    pub syn_unanswered: u64,
    /// Connections whose SYN it answered with a reset.
    pub syn_reset: u64,
    /// SYNs that clients repeated because there was no answer for a second or longer.
    pub syn_repeated: u64,
}

impl Event {
    /// The kind's name for programs.
    pub fn name(&self) -> &'static str {
        self.kind.map_or("unknown", EventKind::name)
    }
}

impl TryFrom<&fep_uapi::Event> for Event {
    type Error = Error;

    fn try_from(event: &fep_uapi::Event) -> Result<Self, Error> {
        let service = (!event.service.is_none()).then(|| ServiceKey::try_from(&event.service));
        let backend = (!event.backend.is_none()).then(|| NodeAddr::try_from(&event.backend));
        Ok(Self {
            sequence: event.sequence,
            kind: EventKind::from_code(event.kind),
            code: event.kind,
            lost: event.lost,
            generation: event.generation,
            service: service.transpose()?,
            backend: backend.transpose()?,
            syn_unanswered: event.syn_unanswered,
            syn_reset: event.syn_reset,
            syn_repeated: event.syn_repeated,
        })
    }
}
