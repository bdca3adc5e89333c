// SPDX-License-Identifier: GPL-2.0

//! Packets: what is read from them, and what becomes of them.

mod icmp;
mod reference;
mod report;
mod rules;
mod scapy;
mod translate;
mod wire;
