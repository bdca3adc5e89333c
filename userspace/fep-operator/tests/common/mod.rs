// SPDX-License-Identifier: GPL-2.0

//! Snapshots to look at.

use fep_operator::{
    Agent, Check, Daemon, Group, GroupNode, Instance, Maintenance, MaintenanceState, Member,
    MemberState, Node, NodeState, Process, ProcessState, Reload, Service, Snapshot,
};

/// One with everything in it, and `text` wherever a text is.
pub(crate) fn full(text: &str) -> Snapshot {
    let text = || text.to_owned();
    Snapshot {
        daemon: Daemon {
            version: text(),
            pid: 7,
            uptime_ms: 90_061_500,
            config: text(),
            reload: Some(Reload {
                age_ms: 1500,
                problem: Some(text()),
            }),
            trouble: Some(text()),
            state_trouble: Some(text()),
            generation: 12,
            routes: 34,
            routes_limit: 1_048_576,
        },
        nodes: vec![Node {
            name: text(),
            address: text(),
            state: NodeState::Partly,
            why: text(),
            agent: Agent::Silent,
            load_permille: Some(125),
            priority: 3,
            routes: 17,
            maintenance: Some(Maintenance {
                state: MaintenanceState::Late,
                routes: 17,
                left_ms: 0,
            }),
            next: Some(text()),
        }],
        services: vec![Service {
            service: text(),
            scheduler: text(),
            group: Some(text()),
            sorry: Some(text()),
            alarm: Some(text()),
            routes: 18,
            members: vec![Member {
                node: text(),
                address: text(),
                state: MemberState::Kept,
                why: text(),
                weight: 4,
                weight_now: 2,
                asked_permille: 333,
                achieved_permille: Some(340),
                routes: 19,
                check: Some(Check {
                    age_ms: 40,
                    problem: Some(text()),
                }),
                next: Some(text()),
            }],
        }],
        groups: vec![Group {
            name: text(),
            best: Some(text()),
            nodes: vec![GroupNode {
                node: text(),
                running: true,
                load_permille: Some(200),
                priority: 2,
            }],
        }],
        processes: vec![Process {
            name: text(),
            service: text(),
            instances: vec![Instance {
                node: text(),
                state: ProcessState::Starting,
                why: text(),
                restarts: 5,
                next: Some(text()),
            }],
        }],
    }
}
