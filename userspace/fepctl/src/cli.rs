// SPDX-License-Identifier: GPL-2.0

//! The command line: exactly what was typed, without any I/O.

mod operator;
mod pki;
mod service;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use fep_client::{DeviceName, Method, NodeSpec, ServiceSpec, Weight};
use fep_uapi::{Method as Known, DEVICE_PATH, WEIGHT_MAX};

use crate::exit;
pub use operator::{Daemon, Group, Maintenance, Node, Process, Wait};
pub use pki::Pki;
pub use service::{Service, Settings};

/// How things are called, for the help text.
const NAMES: &str = "Administers fep, the front-end packet filter.\n\n\
    A service is PROTO/VIP:PORT, such as tcp/10.0.0.100:80 or tcp/[2001:db8::10]:80. A backend is an \
    address and a port, such as 10.1.0.2:80 or [2001:db8::2]:80. A port may be a name of the services \
    file.";

/// Administers fep, the front-end packet filter
#[derive(Debug, Parser)]
#[command(name = "fepctl", version, long_about = NAMES, after_help = exit::help(), propagate_version = true)]
pub struct Cli {
    /// Control device of the module
    #[arg(long, global = true, value_name = "PATH", default_value = DEVICE_PATH)]
    pub device: PathBuf,

    /// Socket of fepd, for the commands that are for it
    #[arg(long, global = true, value_name = "PATH", default_value = fep_operator::SOCKET)]
    pub socket: PathBuf,

    /// Print JSON, errors included
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach and detach network devices
    #[command(subcommand)]
    Device(Device),
    /// Add, set and remove services
    #[command(subcommand)]
    Service(Service),
    /// Add, set, remove, fail and restore the backends of services
    #[command(subcommand)]
    Backend(Backend),
    /// List and delete allocated routes
    #[command(subcommand)]
    Route(Route),
    /// Set the limit of the allocated-route table
    #[command(subcommand)]
    Limit(Limit),
    /// Show devices, services, backends and what became of packets
    Status,
    /// Show the traffic of services and backends
    Stats(Stats),
    /// Print what happens: nodes drained, SYNs unanswered, the table full, the configuration changed
    Events {
        /// End after so many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Print the configuration in the form that apply takes
    Dump,
    /// Make the configuration that of a file, in one step
    Apply(Apply),
    /// Remove all services, in one step
    Flush(Flush),
    /// Ask fepd about nodes; add, remove and maintain them
    #[command(subcommand)]
    Node(Node),
    /// Ask fepd about groups of nodes
    #[command(subcommand)]
    Group(Group),
    /// Ask fepd about server processes; start and stop them
    #[command(subcommand)]
    Process(Process),
    /// Ask fepd about itself
    #[command(subcommand)]
    Daemon(Daemon),
    /// Make and show the certificates of the cluster
    #[command(subcommand)]
    Pki(Pki),
    /// Print a completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Directory to write them to
        dir: PathBuf,
    },
}

/// Verbs of devices.
#[derive(Debug, Subcommand)]
pub enum Device {
    /// Handle the packets that a device receives
    Attach {
        /// Name of the device
        #[arg(value_name = "DEV")]
        name: DeviceName,
    },
    /// Leave the packets of a device alone
    Detach {
        /// Name of the device
        #[arg(value_name = "DEV")]
        name: DeviceName,
    },
}

/// Verbs of backends.
#[derive(Debug, Subcommand)]
pub enum Backend {
    /// Add a backend to a service
    Add(NewMember),
    /// Set the weight of a backend
    Set {
        /// Which.
        #[command(flatten)]
        member: Member,
        /// Share of the new clients, 0 to 65535; 0 drains
        #[arg(long, value_name = "N", value_parser = weight, allow_negative_numbers = true)]
        weight: Weight,
    },
    /// Remove a backend from a service, and its routes
    Del(Member),
    /// Mark a backend failed: all its routes are deleted, it gets no clients
    Fail(Marked),
    /// Take the mark away
    Restore(Marked),
    /// Set the priority of a backend; the lower number comes first
    Priority {
        /// Which.
        #[command(flatten)]
        member: Member,
        /// Its priority, 0 to 65535
        #[arg(value_name = "N", value_parser = number)]
        priority: u32,
    },
    /// Report the load of a backend, for the scheduler optimal
    Load {
        /// Which.
        #[command(flatten)]
        marked: Marked,
        /// Its load, 0 to 1000000, in a unit that all reports have
        #[arg(value_name = "N", value_parser = number)]
        load: u32,
    },
}

/// A backend to add to a service.
#[derive(Debug, Args)]
pub struct NewMember {
    /// The service
    #[arg(value_name = "PROTO/VIP:PORT")]
    pub service: ServiceSpec,
    /// The backend; the port is that of the service unless given
    #[arg(value_name = "BEP[:PORT]", value_parser = NodeSpec::new_node)]
    pub backend: NodeSpec,
    /// Share of the new clients, 0 to 65535; 0 drains
    #[arg(long, value_name = "N", default_value = "1", value_parser = weight, allow_negative_numbers = true)]
    pub weight: Weight,
    /// How packets reach the backend
    ///
    /// With dr a packet keeps its addresses, its port and its size: the path MTU is what it was, and
    /// the port of the backend is that of the service. The backend is on a network of the front-end,
    /// has the VIP on a loopback or dummy device without answering ARP or neighbour discovery for it,
    /// and replies to clients directly.
    #[arg(long, default_value = "nat", value_parser = methods())]
    pub method: Method,
}

/// A backend of a service.
#[derive(Debug, Args)]
pub struct Member {
    /// The service
    #[arg(value_name = "PROTO/VIP:PORT")]
    pub service: ServiceSpec,
    /// The backend; the port is that of the service unless given
    #[arg(value_name = "BEP[:PORT]")]
    pub backend: NodeSpec,
}

/// A backend to mark.
#[derive(Debug, Args)]
pub struct Marked {
    /// The backend; every port of it unless one is given
    #[arg(value_name = "BEP[:PORT]")]
    pub backend: NodeSpec,
    /// In this service only, not in all
    #[arg(long, value_name = "PROTO/VIP:PORT")]
    pub service: Option<ServiceSpec>,
}

/// Verbs of routes.
#[derive(Debug, Subcommand)]
pub enum Route {
    /// List allocated routes
    List {
        /// Which.
        #[command(flatten)]
        filter: Filter,
        /// List no more than so many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Delete allocated routes
    Flush {
        /// Which.
        #[command(flatten)]
        filter: Filter,
    },
}

/// Which routes.
#[derive(Debug, Args)]
pub struct Filter {
    /// Only those of this service
    #[arg(long, value_name = "PROTO/VIP:PORT")]
    pub service: Option<ServiceSpec>,
    /// Only those of this backend; of every port unless one is given
    #[arg(long, value_name = "BEP[:PORT]")]
    pub backend: Option<NodeSpec>,
}

/// Verbs of the limit.
#[derive(Debug, Subcommand)]
pub enum Limit {
    /// Refuse new clients when there are so many routes
    Set {
        /// The limit, in routes
        #[arg(value_name = "N", value_parser = number, allow_negative_numbers = true)]
        routes: u32,
    },
}

/// How to show the traffic.
#[derive(Debug, Args)]
pub struct Stats {
    /// Show rates again and again, with so many seconds between
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    pub watch: Option<Duration>,
    /// Stop after so many times
    #[arg(long, value_name = "N", requires = "watch")]
    pub count: Option<u64>,
}

/// What to apply.
#[derive(Debug, Args)]
pub struct Apply {
    /// The configuration, TOML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Check everything and print what would change, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What to remove.
#[derive(Debug, Args)]
pub struct Flush {
    /// Detach all devices as well
    #[arg(long)]
    pub devices: bool,
}

fn methods() -> impl TypedValueParser<Value = Method> {
    let names = Known::ALL.iter().map(|known| {
        PossibleValue::new(known.name()).help(match known {
            Known::Nat => "Translation: replies come back through the front-end",
            Known::Dr => "Direct routing: the backend has the VIP and replies to clients itself",
        })
    });
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Method>())
}

fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("not a whole number from 0 to {}", u32::MAX))
}

fn weight(text: &str) -> Result<Weight, String> {
    // One that is above the limit, but a number, is the kernel's to refuse.
    text.parse()
        .map_err(|_| format!("not a whole number from 0 to {WEIGHT_MAX}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not within 0.01 to 86400 seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "inf", "1e9", "x", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
