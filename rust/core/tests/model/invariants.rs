// SPDX-License-Identifier: GPL-2.0

//! What is true of a front-end node between any two events.

use std::collections::{BTreeMap, BTreeSet};

use fep_core::validate::Service;

use crate::front_end::FrontEnd;

impl FrontEnd {
    /// Panics when the tables contradict each other or the requirements.
    pub(crate) fn check_invariants(&self) {
        let mut clients = BTreeSet::new();
        let mut counts: BTreeMap<(Service, u32), usize> = BTreeMap::new();
        for (hash, bucket) in &self.buckets {
            for route in bucket {
                // F3: a client has one route, and is found where its packets look.
                assert_eq!(self.hash(route.service.protocol, route.client), *hash);
                assert!(clients.insert((route.service, route.client)));
                // F6: no route leads to a node that is failed or removed.
                assert!(self.tables[&route.service].view(route).live);
                *counts.entry((route.service, route.index)).or_default() += 1;
            }
        }
        assert_eq!(clients.len(), self.count);
        for (service, table) in &self.tables {
            let mut eligible = BTreeMap::new();
            for backend in &table.backends {
                let count = counts.get(&(*service, backend.index)).copied();
                assert_eq!(backend.routes, count.unwrap_or(0));
                if backend.weight > 0 && !backend.failed {
                    eligible.insert(backend.index, backend.weight);
                }
            }
            let slots = table.slots.iter().map(|slot| (slot.index, slot.weight));
            assert_eq!(slots.collect::<BTreeMap<_, _>>(), eligible);
            assert_eq!(table.slots.len(), eligible.len());
            assert!(table.slots.iter().all(|slot| slot.done <= slot.weight));
        }
    }
}
