// SPDX-License-Identifier: GPL-2.0

//! Names of ports, from the system's services file (F5).

use std::fs;
use std::path::Path;

use fep_client::text::Printable;
use fep_client::{Port, Protocol};

use crate::failure::Failure;

/// The names in a services file. It is read when a name is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortNames<'a> {
    path: &'a Path,
}

impl<'a> PortNames<'a> {
    pub(crate) fn new(path: &'a Path) -> Self {
        Self { path }
    }

    /// The number that a port stands for with a protocol.
    pub(crate) fn number(&self, port: &Port, protocol: Protocol) -> Result<u16, Failure> {
        let name = match port {
            Port::Number(number) => return Ok(*number),
            Port::Name(name) => name,
        };
        find(&self.read(name)?, name, protocol).ok_or_else(|| {
            Failure::bad_input(format!(
                "port \"{}\" is not in {} for {protocol}; give a number",
                Printable(name),
                self.path.display()
            ))
        })
    }

    /// The number that a port stands for whatever the protocol.
    pub(crate) fn number_of_any(&self, port: &Port) -> Result<u16, Failure> {
        let name = match port {
            Port::Number(number) => return Ok(*number),
            Port::Name(name) => name,
        };
        let text = self.read(name)?;
        let tcp = find(&text, name, Protocol::Tcp);
        let udp = find(&text, name, Protocol::Udp);
        let problem = match (tcp, udp) {
            (Some(tcp), Some(udp)) if tcp != udp => {
                format!("means {tcp} for tcp and {udp} for udp")
            }
            (Some(number), _) | (None, Some(number)) => return Ok(number),
            (None, None) => format!("is not in {}", self.path.display()),
        };
        let name = Printable(name);
        Err(Failure::bad_input(format!(
            "port \"{name}\" {problem}; give a number"
        )))
    }

    fn read(&self, name: &str) -> Result<String, Failure> {
        match fs::read(self.path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(Failure::bad_input(format!(
                "port \"{}\" cannot be looked up in {}: {error}; give a number",
                Printable(name),
                self.path.display()
            ))),
        }
    }
}

/// Finds a name or an alias: `NAME PORT/PROTOCOL [ALIAS…] [# …]`, as in services(5).
fn find(text: &str, name: &str, protocol: Protocol) -> Option<u16> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let first = words.next()?;
        let (number, of) = words.next()?.split_once('/')?;
        let named = first == name || words.any(|alias| alias == name);
        if named && of == protocol.name() {
            number.parse().ok().filter(|&number| number != 0)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# comment\n\
http\t\t80/tcp\t\twww # WorldWideWeb\n\
domain 53/tcp\n\
domain 53/udp nameserver\n\
#gone 1/tcp\n\
broken\n\
odd x/tcp\n\
big 70000/tcp\n\
zero 0/tcp\n";

    #[test]
    fn names_and_aliases_are_found() {
        assert_eq!(find(FILE, "http", Protocol::Tcp), Some(80));
        assert_eq!(find(FILE, "www", Protocol::Tcp), Some(80));
        assert_eq!(find(FILE, "http", Protocol::Udp), None);
        assert_eq!(find(FILE, "nameserver", Protocol::Udp), Some(53));
        for name in [
            "WorldWideWeb",
            "gone",
            "#gone",
            "broken",
            "odd",
            "big",
            "zero",
            "",
        ] {
            assert_eq!(find(FILE, name, Protocol::Tcp), None, "{name}");
        }
    }
}
