// SPDX-License-Identifier: GPL-2.0

//! The verbs of services: those that change the filter, and those that fepd is asked for.

use clap::{Args, Subcommand};
use fep_client::config::scheduler_named;
use fep_client::{Method, ServiceSpec, Timeouts};
use fep_uapi::{Scheduler, WEIGHT_MAX};

use super::{methods, number};

/// Verbs of services.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Add a service without backends
    Add {
        /// The service
        #[arg(value_name = "PROTO/VIP:PORT")]
        service: ServiceSpec,
        /// Its settings.
        #[command(flatten)]
        settings: Settings,
    },
    /// Set what is given, leave the rest as it is
    Set {
        /// The service
        #[arg(value_name = "PROTO/VIP:PORT")]
        service: ServiceSpec,
        /// Its settings.
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove a service, its backends and their routes
    Del {
        /// The service
        #[arg(value_name = "PROTO/VIP:PORT")]
        service: ServiceSpec,
    },
    /// Have fepd let a node serve a service
    Assign {
        /// The service
        #[arg(value_name = "PROTO/VIP:PORT")]
        service: ServiceSpec,
        /// Name of the node
        #[arg(value_name = "NODE")]
        node: String,
        /// The port of the node, if not the service's
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
        /// Share of the new clients, 0 to 65535; 0 drains
        #[arg(long, value_name = "N", default_value = "1", value_parser = share)]
        weight: u32,
        /// Which nodes come before it: the lower number; the node's own unless given
        #[arg(long, value_name = "N", value_parser = number)]
        priority: Option<u32>,
        /// How packets reach it
        #[arg(long, default_value = "nat", value_parser = methods())]
        method: Method,
    },
    /// Have fepd take a service from a node
    Unassign {
        /// The service
        #[arg(value_name = "PROTO/VIP:PORT")]
        service: ServiceSpec,
        /// Name of the node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Have fepd give a node another share of the new clients of a service
    Weight {
        /// The service
        #[arg(value_name = "PROTO/VIP:PORT")]
        service: ServiceSpec,
        /// Name of the node
        #[arg(value_name = "NODE")]
        node: String,
        /// The share, 0 to 65535; 0 drains
        #[arg(value_name = "N", value_parser = share)]
        weight: u32,
    },
    /// Ask fepd about services: their nodes, shares, checks and what it does next
    List {
        /// Only this one
        #[arg(value_name = "PROTO/VIP:PORT")]
        service: Option<ServiceSpec>,
    },
}

/// Settings of a service.
#[derive(Clone, Copy, Debug, Args)]
pub struct Settings {
    /// How a backend is chosen for a new client: wrr, steer or optimal
    ///
    /// wrr: by weight. steer: so that the routes there are follow the weights. optimal: the least load.
    #[arg(long, value_name = "NAME", value_parser = scheduler)]
    scheduler: Option<Scheduler>,
    /// End of a TCP connection that is being opened, 0 for the default of 30
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    timeout_syn: Option<u32>,
    /// End of an idle established TCP connection, 0 for the default of 900
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    timeout_established: Option<u32>,
    /// End of a TCP connection that is being closed, 0 for the default of 120
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    timeout_closing: Option<u32>,
    /// End of a TCP connection that was reset, 0 for the default of 10
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    timeout_reset: Option<u32>,
    /// End of an idle UDP client, 0 for the default of 300
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    timeout_udp: Option<u32>,
}

impl Settings {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        let timeouts = [
            self.timeout_syn,
            self.timeout_established,
            self.timeout_closing,
            self.timeout_reset,
            self.timeout_udp,
        ];
        self.scheduler.is_none() && timeouts.iter().all(Option::is_none)
    }

    /// The settings where they are given, else those before.
    pub fn over(&self, scheduler: Scheduler, before: Timeouts) -> (Scheduler, Timeouts) {
        let timeouts = Timeouts {
            syn: self.timeout_syn.unwrap_or(before.syn),
            established: self.timeout_established.unwrap_or(before.established),
            closing: self.timeout_closing.unwrap_or(before.closing),
            reset: self.timeout_reset.unwrap_or(before.reset),
            udp: self.timeout_udp.unwrap_or(before.udp),
        };
        (self.scheduler.unwrap_or(scheduler), timeouts)
    }

    /// The settings, defaults where none are given.
    pub fn or_default(&self) -> (Scheduler, Timeouts) {
        self.over(Scheduler::Wrr, Timeouts::default())
    }
}

fn scheduler(name: &str) -> Result<Scheduler, String> {
    scheduler_named(name).ok_or_else(|| {
        let names: Vec<&str> = Scheduler::ALL.iter().map(|known| known.name()).collect();
        format!("no such scheduler (there is {})", names.join(", "))
    })
}

fn share(text: &str) -> Result<u32, String> {
    let wrong = |_| format!("not a whole number from 0 to {WEIGHT_MAX}");
    let share: u32 = text.parse().map_err(wrong)?;
    if share <= WEIGHT_MAX {
        Ok(share)
    } else {
        Err(format!("above the limit {WEIGHT_MAX}"))
    }
}
