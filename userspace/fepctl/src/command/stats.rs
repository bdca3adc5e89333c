// SPDX-License-Identifier: GPL-2.0

//! `fepctl stats`: totals, or rates again and again.

use std::collections::HashMap;
use std::time::Duration;

use fep_client::{NodeAddr, ServiceKey, ServiceState};
use fep_uapi::Traffic;
use serde_json::{json, Value};

use super::outcome;
use crate::cli::Stats;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::Context;

/// Puts the cursor into the corner and clears the screen (ECMA-48: CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

pub(super) fn run(command: &Stats, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    match command.watch {
        Some(interval) => watch(interval, command.count.unwrap_or(u64::MAX), context),
        None => {
            let services = context.client()?.snapshot()?.services;
            if context.json {
                let services = services_json(&services, "traffic", |_, now| traffic(now));
                outcome::json(&json!({ "services": services }), context)
            } else {
                let total = |_: &Name, now: &Traffic| fields(now).map(|field| field.to_string());
                Ok(table("", &services, total).write(context.out())?)
            }
        }
    }
}

/// What has traffic: a service, or a node of it.
type Name = (ServiceKey, Option<NodeAddr>);

/// The traffic at a moment.
struct Sample {
    at: Duration,
    traffic: HashMap<Name, Traffic>,
}

impl Sample {
    fn new(at: Duration, services: &[ServiceState]) -> Self {
        let mut traffic = HashMap::new();
        for service in services {
            traffic.insert((service.key, None), service.traffic);
            for backend in &service.backends {
                traffic.insert((service.key, Some(backend.addr)), backend.traffic);
            }
        }
        Self { at, traffic }
    }

    /// Traffic for each second since. Nothing for what was not there.
    #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
    fn rates(&self, at: Duration, name: &Name, now: &Traffic) -> [f64; FIELDS] {
        let seconds = at.saturating_sub(self.at).as_secs_f64();
        let before = self.traffic.get(name).copied().unwrap_or(*now);
        let mut rates = [0.0; FIELDS];
        for ((rate, now), before) in rates.iter_mut().zip(fields(now)).zip(fields(&before)) {
            // Less than before: it was removed and added again meanwhile.
            let more = now.saturating_sub(before) as f64;
            *rate = if seconds > 0.0 { more / seconds } else { 0.0 };
        }
        rates
    }
}

fn watch(interval: Duration, count: u64, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut client = context.client()?;
    let services = client.snapshot()?.services;
    let mut before = Sample::new(context.around.clock.now(), &services);
    for _ in 0..count {
        let go_on = context.around.clock.wait(interval);
        if !go_on.map_err(|error| Failure::io("waiting", &error))? {
            break;
        }
        let services = client.snapshot()?.services;
        let at = context.around.clock.now();
        let rates = |name: &Name, now: &Traffic| before.rates(at, name, now);
        if context.json {
            let to_json = |name: &Name, now: &Traffic| {
                Value::Object(names().zip(rates(name, now).map(Value::from)).collect())
            };
            let services = services_json(&services, "per_second", to_json);
            let seconds = at.saturating_sub(before.at).as_secs_f64();
            outcome::json(
                &json!({ "seconds": seconds, "services": services }),
                context,
            )?;
        } else {
            if context.around.terminal {
                write!(context.out(), "{CLEAR}")?;
            }
            let rounded =
                |name: &Name, now: &Traffic| rates(name, now).map(|rate| format!("{rate:.0}"));
            table("/s", &services, rounded).write(context.out())?;
        }
        context.out().flush()?;
        before = Sample::new(at, &services);
    }
    Ok(())
}

const FIELDS: usize = 5;

const NAMES: [&str; FIELDS] = [
    "connections",
    "packets_in",
    "packets_out",
    "bytes_in",
    "bytes_out",
];

fn names() -> impl Iterator<Item = String> {
    NAMES.into_iter().map(str::to_owned)
}

fn fields(traffic: &Traffic) -> [u64; FIELDS] {
    [
        traffic.connections,
        traffic.packets_in,
        traffic.packets_out,
        traffic.bytes_in,
        traffic.bytes_out,
    ]
}

/// Traffic for programs.
pub(super) fn traffic(traffic: &Traffic) -> Value {
    Value::Object(names().zip(fields(traffic).map(Value::from)).collect())
}

fn services_json(
    services: &[ServiceState],
    label: &str,
    numbers: impl Fn(&Name, &Traffic) -> Value,
) -> Vec<Value> {
    let service = |service: &ServiceState| {
        let backends = service.backends.iter().map(|backend| {
            let name = (service.key, Some(backend.addr));
            json!({ "backend": backend.addr, label: numbers(&name, &backend.traffic) })
        });
        json!({
            "service": service.key,
            label: numbers(&(service.key, None), &service.traffic),
            "backends": backends.collect::<Vec<_>>(),
        })
    };
    services.iter().map(service).collect()
}

fn table(
    unit: &str,
    services: &[ServiceState],
    numbers: impl Fn(&Name, &Traffic) -> [String; FIELDS],
) -> Table {
    let headings = [
        "CLIENTS",
        "PACKETS-IN",
        "PACKETS-OUT",
        "BYTES-IN",
        "BYTES-OUT",
    ];
    let headings = headings.map(|heading| format!("{heading}{unit}"));
    let mut columns = vec![("SERVICE, BACKEND", Align::Left)];
    columns.extend(
        headings
            .iter()
            .map(|heading| (heading.as_str(), Align::Right)),
    );
    let mut table = Table::new(&columns);
    for service in services {
        let total = numbers(&(service.key, None), &service.traffic);
        table.row([service.key.to_string()].into_iter().chain(total));
        for backend in &service.backends {
            let part = numbers(&(service.key, Some(backend.addr)), &backend.traffic);
            table.row([format!("  {}", backend.addr)].into_iter().chain(part));
        }
    }
    table
}
