// SPDX-License-Identifier: GPL-2.0

//! The rules of the control plane that a configuration stands for.

use std::collections::BTreeMap;

use fep_client::{Backend, Method, NodeAddr, Priority, Weight};
use fep_config::{Config, Process, Service};
use fep_control::plane::{ProcessRules, Rules, ServiceRules};
use fep_control::process;

/// The rules that the configuration stands for.
pub(super) fn of(config: &Config) -> Rules {
    let mut rules = Rules {
        load: config.load,
        ..Rules::default()
    };
    if let Some(agents) = &config.agents {
        // So many reports may be lost.
        rules.heartbeat = rules.heartbeat.max(agents.report * 3);
        rules.expiry = rules.expiry.max(agents.report * 10);
    }
    let with_agent = config.nodes.iter().filter(|node| node.agent);
    rules.agents = with_agent.map(|node| node.address).collect();
    let services = config.services.iter();
    rules.services = services
        .map(|service| (service.key, of_service(config, service)))
        .collect();
    rules
}

fn of_service(config: &Config, service: &Service) -> ServiceRules {
    let sorry = service.sorry.map(|addr| Backend {
        addr,
        weight: Weight(1),
        priority: Priority::default(),
        method: Method::NAT,
        failed: None,
    });
    let process = service.process.as_ref();
    ServiceRules {
        thresholds: service.health,
        pool: service.pool,
        sorry,
        processes: process.map(|process| of_process(config, service, process)),
    }
}

fn of_process(config: &Config, service: &Service, process: &Process) -> ProcessRules {
    let candidates: BTreeMap<NodeAddr, u32> = config
        .nodes
        .iter()
        .filter(|node| process.candidates.contains(&node.name))
        .map(|node| {
            let addr = NodeAddr {
                address: node.address,
                port: service.key.port,
            };
            (addr, node.priority)
        })
        .collect();
    let defaults = process::Rules::default();
    ProcessRules {
        rules: process::Rules {
            high: config.load.high,
            low: config.load.low.min(defaults.low),
            overloaded_for: process.start_after,
            idle_for: process.stop_after,
            ready_within: process.start_timeout,
            drain_within: service.drain_timeout,
            stop_within: process.stop_timeout,
            ..defaults
        },
        candidates,
        priority: Priority::default(),
        weight: Weight(1),
        method: Method::NAT,
    }
}
