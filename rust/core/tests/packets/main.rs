// SPDX-License-Identifier: GPL-2.0

//! Packets: what is read from them, and what becomes of them.

mod any;
mod icmp;
mod icmp_rules;
mod parse;
mod reference;
mod report;
mod report_reference;
mod rules;
mod rules6;
mod scapy;
mod translate;
mod wire;
