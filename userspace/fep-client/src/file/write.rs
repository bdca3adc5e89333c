// SPDX-License-Identifier: GPL-2.0

//! A configuration as TOML, one line for each node.

use std::fmt::{self, Display, Write};

use crate::config::{Config, Service};

/// Writes a configuration as TOML that [`Document::parse`](super::Document::parse) takes back.
pub fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_config(&mut text, config);
    text
}

fn write_config(out: &mut String, config: &Config) -> fmt::Result {
    if let Some(devices) = &config.devices {
        let names: Vec<String> = devices.iter().map(|name| quoted(name.as_str())).collect();
        writeln!(out, "devices = [{}]", names.join(", "))?;
    }
    if let Some(limit) = config.limit {
        writeln!(out, "limit = {limit}")?;
    }
    match config.services.as_deref() {
        // Without this line the services would be left as they are.
        Some([]) => writeln!(out, "services = []")?,
        services => {
            for service in services.unwrap_or_default() {
                write_service(out, service)?;
            }
        }
    }
    Ok(())
}

fn write_service(out: &mut String, service: &Service) -> fmt::Result {
    writeln!(out, "\n[[services]]")?;
    writeln!(out, "key = {}", quoted(service.key))?;
    writeln!(out, "scheduler = {}", quoted(service.scheduler.name()))?;
    let timeouts: Vec<String> = service
        .timeouts
        .named()
        .iter()
        .filter(|(_, seconds)| *seconds != 0)
        .map(|(name, seconds)| format!("{name} = {seconds}"))
        .collect();
    if !timeouts.is_empty() {
        writeln!(out, "timeouts = {{ {} }}", timeouts.join(", "))?;
    }
    if service.backends.is_empty() {
        return writeln!(out, "backends = []");
    }
    writeln!(out, "backends = [")?;
    for backend in &service.backends {
        write!(
            out,
            "    {{ addr = {}, weight = {}",
            quoted(backend.addr),
            backend.weight
        )?;
        if !backend.priority.is_default() {
            write!(out, ", priority = {}", backend.priority)?;
        }
        if !backend.method.is_default() {
            write!(out, ", method = {}", quoted(backend.method))?;
        }
        if let Some(failed) = backend.failed {
            write!(out, ", failed = {failed}")?;
        }
        writeln!(out, " }},")?;
    }
    writeln!(out, "]")
}

/// A TOML basic string.
fn quoted(text: impl Display) -> String {
    let mut quoted = String::from('"');
    for character in text.to_string().chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            c if c.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
