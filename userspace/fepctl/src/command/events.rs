// SPDX-License-Identifier: GPL-2.0

//! `fepctl events`.

use fep_client::Event;
use serde_json::json;

use super::outcome;
use crate::failure::Failure;
use crate::Context;

pub(super) fn run(count: Option<u64>, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut client = context.client()?;
    client.subscribe()?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        for event in client.wait_for_events()? {
            print(&event, context)?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        context.out().flush()?;
    }
    Ok(())
}

fn print(event: &Event, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if context.json {
        let value = json!({
            "sequence": event.sequence,
            "event": event.name(),
            "lost": event.lost,
            "generation": event.generation,
            "service": event.service,
            "backend": event.backend,
            "syns": {
                "unanswered": event.syn_unanswered,
                "reset": event.syn_reset,
                "repeated": event.syn_repeated,
            },
        });
        return outcome::json(&value, context);
    }
    let mut line = format!("{} {}", event.sequence, event.name());
    if let (Some(service), Some(backend)) = (event.service, event.backend) {
        line += &format!(" {service} {backend}");
    }
    for (count, what) in [
        (event.syn_unanswered, "unanswered"),
        (event.syn_reset, "reset"),
        (event.syn_repeated, "repeated"),
    ] {
        if count != 0 {
            line += &format!(" {what} {count}");
        }
    }
    line += &format!(" generation {}", event.generation);
    if event.lost != 0 {
        line += &format!(" ({} lost before it)", event.lost);
    }
    Ok(writeln!(context.out(), "{line}")?)
}
